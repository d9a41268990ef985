"""Sums and lengths of vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unit(x: np.ndarray) -> np.ndarray:
    """Rows at length 1; a row of zeros stays one, so that its cosine to all is 0."""
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(lengths == 0, 1.0, lengths))


def row_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the last axis, each row in the same order whatever rows are beside it.

    numpy's pairwise sum over a contiguous axis promises that; a dot product, matmul or
    einsum chooses its order by the whole shape.
    """
    return np.asarray(np.ascontiguousarray(values).sum(axis=-1))
