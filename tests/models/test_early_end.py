"""The end of a text is forbidden where the LLM could well go on, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.models.early_end import SURE, forbid_end

VOCABULARY = 6


@given(
    st.lists(
        st.lists(st.floats(-20, 20, width=32), min_size=VOCABULARY, max_size=VOCABULARY),
        min_size=1,
        max_size=4,
    ),
    st.sets(st.integers(0, VOCABULARY - 1), min_size=1, max_size=VOCABULARY - 1),
    st.data(),
)
def test_ends_are_forbidden_where_they_are_not_nearly_certain(rows, ends, data):
    before = torch.tensor(rows)
    chosen = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1))
    after = before.clone()
    forbid_end(after, sorted(chosen), sorted(ends))
    share = before.softmax(1)[:, sorted(ends)].sum(1)
    for row in range(len(rows)):
        if row not in chosen or share[row] > SURE + 1e-4:
            assert after[row].equal(before[row])
        elif share[row] < SURE - 1e-4:
            kept = [token for token in range(VOCABULARY) if token not in ends]
            assert after[row, kept].equal(before[row, kept])
            assert (after[row, sorted(ends)] == -torch.inf).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_end_tokens_nothing_changes(dtype):
    logits = torch.zeros(1, 3, dtype=dtype)
    forbid_end(logits, [0], [])
    assert logits.tolist() == [[0, 0, 0]]
