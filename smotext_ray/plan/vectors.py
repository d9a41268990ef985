"""Reproducible sums and normalization of vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unit(x: np.ndarray) -> np.ndarray:
    """Normalize rows to length 1; zero rows stay zero, so that their cosine to every row is 0."""
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(lengths == 0, 1.0, lengths))


def row_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the last axis, in the same order for each row whatever the other rows.

    numpy's pairwise sum over a contiguous axis guarantees this; in dot, matmul and einsum the
    order depends on the whole shape.
    """
    return np.asarray(np.ascontiguousarray(values).sum(axis=-1))
