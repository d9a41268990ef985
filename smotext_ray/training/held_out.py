"""Held-out texts, which are not trained on: the LLM's loss, and how close greedy texts are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from smotext_ray.models.bridge import Bridge
from smotext_ray.plan.vectors import unit
from smotext_ray.training.data import cut, padded
from smotext_ray.training.frozen import FrozenModels
from smotext_ray.training.generation import generate
from smotext_ray.training.objectives import Paraphrase, Tuning
from smotext_ray.training.workers import Workers

MATCHED, SHUFFLED, NONE = "matched", "shuffled", "none"
KINDS = (MATCHED, SHUFFLED, NONE)
LENGTHS = ("short", "medium", "long")
LAST_WORDS = (25, 60)  # upper bounds in words of short and medium texts


def length_classes(texts: Sequence[str]) -> np.ndarray:
    """Index into ``LENGTHS`` for each text; shape (n,)."""
    words = [len(text.split()) for text in texts]
    return np.searchsorted(LAST_WORDS, words)


@torch.inference_mode()
def held_out_loss(
    bridge: Bridge,
    objective: Paraphrase | Tuning,
    rows: np.ndarray,
    embeddings: np.ndarray,
    batch_tokens: int,
    workers: Workers | None = None,
    kinds: Sequence[str] = KINDS,
) -> dict[str, float]:
    """Nats per token with the matched, a shuffled and no embedding.

    Only the gap between matched and shuffled shows that the LLM uses the vector.

    Parameters
    ----------
    bridge : Bridge
    objective : Paraphrase or Tuning
    rows : ndarray of shape (n,)
        At least two rows of the objective. For the shuffled loss, each gets the embedding of the
        previous row.
    embeddings : ndarray of shape (n, encoder_dim)
        Embeddings of the rows.
    batch_tokens : int
        Positions per forward pass.
    workers : Workers, optional
        Each computes its share, and all get the same result. Default: only this process.
    kinds : sequence of {"matched", "shuffled", "none"}
        "none" depends only on the LLM: it is the same for every bridge.

    Returns
    -------
    dict
        ``held_out_matched`` and so on; and ``held_out_matched_short``, ``_medium`` and ``_long`` by
        number of words, if there are such texts.
    """
    workers = workers or Workers()
    wrong = np.roll(embeddings, 1, axis=0)
    classes = length_classes([objective.texts[row] for row in rows])
    positions = objective.positions[rows]
    batches = cut(np.arange(len(rows)), positions, batch_tokens, workers.count)
    sums = torch.zeros(len(kinds) + 1, len(LENGTHS), dtype=torch.float64)  # last row: tokens
    for some in workers.share(batches, [padded(batch, positions) for batch in batches]):
        batch = objective.batch(rows[some], embeddings[some])
        points = {MATCHED: embeddings[some], SHUFFLED: wrong[some]}
        lengths = (batch.ids >= 0).sum(1)
        owners = torch.from_numpy(classes[some]).to(lengths.device).repeat_interleave(lengths).cpu()
        sums[-1] += torch.bincount(owners, minlength=len(LENGTHS))
        for number, kind in enumerate(kinds):
            given = points.get(kind)
            at = None if given is None else torch.from_numpy(given).to(batch.embeddings.device)
            nats = objective.nll(bridge, batch, at).double().cpu()
            sums[number] += torch.bincount(owners, nats, minlength=len(LENGTHS))
    total = sums.to(bridge.output_scale.device)
    workers.add_up(total)
    *nats_of, tokens = total.cpu().numpy()
    found = {
        f"held_out_{kind}": float(nats.sum() / tokens.sum())
        for kind, nats in zip(kinds, nats_of, strict=True)
    }
    if MATCHED in kinds:
        matched = nats_of[list(kinds).index(MATCHED)]
        for name, nats, count in zip(LENGTHS, matched, tokens, strict=True):
            if count:
                found[f"held_out_{MATCHED}_{name}"] = float(nats / count)
    return found


def greedy_cosine(
    frozen: FrozenModels,
    bridge: Bridge,
    points: np.ndarray,
    encoder: Any,
    max_tokens: int,
    workers: Workers | None = None,
    styles: np.ndarray | None = None,
) -> float:
    """Mean cosine of the greedily decoded texts' embeddings to their points.

    Parameters
    ----------
    frozen : FrozenModels
    bridge : Bridge
    points : ndarray of shape (n, encoder_dim), float32
    encoder : Encoder
    max_tokens : int
        Longer texts are truncated.
    workers : Workers, optional
        Each decodes its share, and all get the same result. Default: only this process.
    styles : ndarray of shape (n, SIZE), float32, optional
        What the texts should look like; see `smotext_ray.models.style`. Default: unknown.
    """
    workers = workers or Workers()
    share = slice(workers.rank, None, workers.count)
    mine, looks = points[share], None if styles is None else styles[share]
    total = torch.zeros(1, dtype=torch.float64, device=bridge.output_scale.device)
    if len(mine):
        decoded = unit(encoder.encode(generate(frozen, bridge, mine, max_tokens, styles=looks)))
        total += float((decoded * unit(mine)).sum())
    workers.add_up(total)
    return float(total) / len(points)
