"""The nucleus is vLLM's top-p, found in another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_ray.models import top_p
from smotext_ray.models.top_p import keep_nucleus


def reference(row: np.ndarray, p: float) -> set[int]:
    """The definition, one row, in float64."""
    shares = np.exp(row - row.max())
    shares /= shares.sum()
    kept: set[int] = set()
    mass = 0.0
    for token in np.argsort(-shares):
        if mass >= p:
            break
        kept.add(int(token))
        mass += shares[token]
    return kept


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 400),
    st.floats(0.05, 0.999),
    st.floats(0.01, 8),
)
def test_the_definition(seed, vocabulary, p, scale):
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(5, vocabulary)) * scale).astype(np.float32)
    kept = keep_nucleus(torch.from_numpy(logits.copy()), p).numpy()
    for row, got in zip(logits, kept, strict=True):
        wanted, found = reference(row.astype(np.float64), p), set(np.flatnonzero(got > -np.inf))
        assert found
        assert (got[list(found)] == row[list(found)]).all()
        # At the edge float32 may round the sum to the other side of p: one token, then.
        assert len(wanted ^ found) <= 1


def test_picking_and_sorting_agree(monkeypatch):
    rng = np.random.default_rng(0)
    # Rows whose nucleus has a few tokens and rows whose nucleus has hundreds.
    scales = np.array([[10.0], [0.1], [3.0], [0.5]])
    logits = torch.from_numpy((rng.normal(size=(4, 1000)) * scales).astype(np.float32))
    picked = keep_nucleus(logits.clone(), 0.9)
    sizes = (picked > -torch.inf).sum(1)
    assert sizes.min() < top_p.PICKED < sizes.max()
    monkeypatch.setattr(top_p, "PICKED", 1)
    assert torch.equal(keep_nucleus(logits.clone(), 0.9), picked)


def test_of_equal_tokens_only_as_many_as_are_needed():
    logits = torch.zeros(1, 500)  # bfloat16 logits are often equal
    assert (keep_nucleus(logits, 0.5) > -torch.inf).sum() in (250, 251)


@pytest.mark.slow
def test_vllm_own_top_p_keeps_the_same():
    from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p_pytorch

    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(20, 5000)) * 4).float()
    theirs = apply_top_k_top_p_pytorch(logits.clone(), None, torch.full((20,), 0.95))
    assert torch.equal(keep_nucleus(logits.clone(), 0.95), theirs)
