"""The gate's reference if rows have several labels: is a text similar to those with a label?

One label against the rest, for each label: linear discriminant analysis with equal priors (Fisher,
1936), as for classes, between the rows with the label and those without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.dataset as ds
from numpy.typing import NDArray

from smotext_ray.gate.reference import batches, count_texts, has_fingerprint, whitener_of
from smotext_ray.tables import matrix


@dataclass(frozen=True)
class LabelReference:
    """The gate's knowledge of a corpus of rows with several labels.

    Attributes
    ----------
    means, rest : ndarray of shape (labels, d), float32
        Means of the rows with each label, and of those without it, whitened. For a label that every
        row has, the rest is infinitely far away.
    whitener : ndarray of shape (d, d), float32
        Transforms embeddings to unit covariance, that of all rows. The covariance within the two
        sides of a label differs from it only along the line between their means, so decisions are
        the same (Sherman-Morrison formula), but this one is shared by all labels.
    fingerprints : ndarray of shape (rows,), int64, sorted
        Fingerprints of the corpus texts.
    """

    means: np.ndarray
    rest: np.ndarray
    whitener: np.ndarray
    fingerprints: np.ndarray

    def has_labels(self, embeddings: np.ndarray) -> NDArray[np.bool_]:
        """Whether each embedding is nearer to the rows with a label than to those without it.

        Returns
        -------
        ndarray of bool, shape (embeddings, labels)
        """
        whitened = embeddings @ self.whitener
        near = _distances(whitened, self.means)
        return np.asarray(near < _distances(whitened, self.rest))

    def holds(self, text: str) -> bool:
        """Whether the corpus contains this text, ignoring case and white space."""
        return has_fingerprint(self.fingerprints, text)


def _distances(whitened: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Squared distances without the term common to all means; infinite for infinite means."""
    is_there = np.isfinite(means).all(axis=1)
    means = np.where(is_there[:, None], means, 0)
    found = (means**2).sum(1)[None, :] - 2.0 * whitened @ means.T
    return np.where(is_there[None, :], found, np.inf)


def label_reference(
    counts: np.ndarray,
    sums: np.ndarray,
    rows: int,
    total: np.ndarray,
    scatter: np.ndarray,
    fingerprints: np.ndarray,
) -> LabelReference:
    """Compute the reference from sums over the corpus.

    Parameters
    ----------
    counts : ndarray of shape (labels,)
        Rows with each label.
    sums : ndarray of shape (labels, d), float64
        Sums of their embeddings.
    rows : int
        Number of all rows, including those without a label.
    total : ndarray of shape (d,), float64
        Sum of all embeddings.
    scatter : ndarray of shape (d, d), float64
        Sum of the outer products of all embeddings with themselves.
    fingerprints : ndarray of int64
    """
    mean = total / rows
    whitener = whitener_of(scatter / rows - np.outer(mean, mean), rows)
    others = rows - counts
    rest = (total - sums) / np.maximum(others, 1)[:, None] @ whitener
    rest[others == 0] = np.inf
    return LabelReference(
        means=(sums / counts[:, None] @ whitener).astype(np.float32),
        rest=rest.astype(np.float32),
        whitener=whitener.astype(np.float32),
        fingerprints=np.unique(fingerprints),
    )


def sum_up_labels(
    embeddings: ds.Dataset, labels: Sequence[Any], corpus: ds.Dataset
) -> tuple[LabelReference, list[int]]:
    """Compute the reference, and the number of distinct texts with each label, in one pass each.

    Parameters
    ----------
    embeddings : pyarrow.dataset.Dataset
        ``label, embedding`` of all rows; the labels are lists.
    labels : sequence
        Row i of the means is for ``labels[i]``.
    corpus : pyarrow.dataset.Dataset
        ``label, text`` of all rows.
    """
    dim = embeddings.schema.field("embedding").type.list_size
    counts, sums = np.zeros(len(labels), np.int64), np.zeros((len(labels), dim))
    rows, total, scatter = 0, np.zeros(dim), np.zeros((dim, dim))
    for of_row, codes, table in batches(embeddings, labels, ["embedding"]):
        x = matrix(table["embedding"]).astype(np.float64)
        counts += np.bincount(codes, minlength=len(labels))
        np.add.at(sums, codes, x[of_row])
        rows, total = rows + len(x), total + x.sum(axis=0)
        scatter += x.T @ x
    _, distinct, prints = count_texts(corpus, labels)
    return label_reference(counts, sums, rows, total, scatter, prints), distinct.tolist()
