"""What is released of a corpus, before noise: a count and a sum of clipped records per class.

Everything is in whole numbers, so that rounding errors of sums cannot differ between neighboring
corpora, and the sensitivity is exact. A record becomes a vector of integers
whose length is at most ``UNITS``, and counts as ``UNITS``: adding or removing it moves the counts
and sums of its class, together, by at most ``sqrt(2) * UNITS``; replacing it by any other record,
label included, by at most ``2 * UNITS``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from smotext_ray.config.choices import Relation

UNITS = 2**20  # per clipping norm; such integers are exact in float32
SENSITIVITY: dict[Relation, float] = {"add_or_remove": math.sqrt(2), "replace": 2.0}


def record_vector(coordinates: np.ndarray, clip_norm: float) -> np.ndarray:
    """A record's part in the sum of its class: clipped, in units of the clipping norm.

    Parameters
    ----------
    coordinates : ndarray of shape (k,)
        An embedding, projected to the public directions.
    clip_norm : float
        Above 0.

    Returns
    -------
    ndarray of shape (k,), int64
        Rounded toward zero, so that its length is at most ``UNITS``.

    Raises
    ------
    ValueError
        For NaN or infinite values, which cannot be scaled to a bounded length.

    Examples
    --------
    >>> (record_vector(np.array([3.0, -4.0]), clip_norm=1.0) / UNITS).round(3).tolist()
    [0.6, -0.8]
    """
    row = np.asarray(coordinates, np.float64)
    if not np.isfinite(row).all():
        raise ValueError("The embeddings hold NaN or infinity.")
    length = float(np.linalg.norm(row))
    # The length may be rounded down; the margin is larger than that error, and less than a unit.
    scale = min(1 / clip_norm, (1 - 1e-12) / length) if length else 0.0
    return np.trunc(row * scale * UNITS).astype(np.int64)


@dataclass(frozen=True)
class ClassSums:
    """Counts and sums of records by class; they add up over blocks.

    Attributes
    ----------
    counts : ndarray of shape (classes,), int64
        Numbers of records, times ``UNITS``.
    sums : ndarray of shape (classes, k), int64
    """

    counts: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, codes: np.ndarray, classes: int) -> ClassSums:
        """Sum a block.

        Parameters
        ----------
        vectors : ndarray of shape (n, k), int64
            From `record_vector`.
        codes : ndarray of shape (n,), int64
            Class of each record; negative for a record to ignore.
        classes : int
        """
        known = codes >= 0
        vectors, codes = vectors[known], codes[known]
        sums = np.zeros((classes, vectors.shape[1]), np.int64)
        np.add.at(sums, codes, vectors)
        return cls(np.bincount(codes, minlength=classes).astype(np.int64) * UNITS, sums)

    def __add__(self, other: ClassSums) -> ClassSums:
        return ClassSums(self.counts + other.counts, self.sums + other.sums)

    def as_matrix(self) -> np.ndarray:
        """Count followed by sum of each class: int64, shape (classes, 1 + k)."""
        return np.column_stack([self.counts, self.sums])
