"""Labelled rows whose texts and embeddings tell their class."""

from __future__ import annotations

import numpy as np

from smotext_ray.evaluation.rows import Rows


def rows_of(texts, labels, dim=4, **flags):
    """Rows whose embeddings are the direction of their class, and a little noise."""
    classes = sorted(set(labels))
    directions = np.eye(dim, dtype=np.float32)[[classes.index(label) for label in labels]]
    noise = np.random.default_rng(len(texts)).normal(0, 0.05, directions.shape)
    return Rows(list(texts), (directions + noise).astype(np.float32), list(labels), **flags)


def topics(n, seed=0):
    """Texts of the tiny models' words, each of one topic."""
    rng = np.random.default_rng(seed)
    labels = [("corn", "ship", "bank")[i % 3] for i in range(n)]
    texts = [
        " ".join(f"{label}{i}" for i in rng.integers(0, 8, rng.integers(3, 9))) for label in labels
    ]
    return rows_of(texts, labels)
