"""The gate's reference: a classifier of the corpus embeddings, and text fingerprints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from smotext_ray.tables import matrix
from smotext_ray.utils.text import distinct_part, fingerprint, text_hash


@dataclass(frozen=True)
class ClassReference:
    """The gate's knowledge of the corpus.

    Attributes
    ----------
    means : ndarray of shape (classes, d), float32
        Class means, whitened.
    whitener : ndarray of shape (d, d), float32
        Transforms embeddings to unit within-class covariance.
    fingerprints : ndarray of shape (rows,), int64, sorted
        Fingerprints of the corpus texts.
    """

    means: np.ndarray
    whitener: np.ndarray
    fingerprints: np.ndarray

    def nearest_class(self, embeddings: np.ndarray) -> np.ndarray:
        """Index in ``means`` of the class closest to each embedding, int64."""
        whitened = embeddings @ self.whitener
        # ||w - m||^2 without the term common to all classes.
        return np.argmin((self.means**2).sum(1)[None, :] - 2.0 * whitened @ self.means.T, axis=1)

    def holds(self, text: str) -> bool:
        """Whether the corpus contains this text, ignoring case and white space."""
        wanted = fingerprint(text)
        at = int(np.searchsorted(self.fingerprints, wanted))
        return at < len(self.fingerprints) and int(self.fingerprints[at]) == wanted


def class_reference(
    counts: np.ndarray, sums: np.ndarray, scatter: np.ndarray, fingerprints: np.ndarray
) -> ClassReference:
    """Compute the reference from sums over the corpus.

    Parameters
    ----------
    counts : ndarray of shape (classes,)
    sums : ndarray of shape (classes, d), float64
        Sums of the embeddings of each class.
    scatter : ndarray of shape (d, d), float64
        Sum of the outer products of all embeddings with themselves.
    fingerprints : ndarray of int64
        Fingerprints of the corpus texts, in any order.
    """
    means = sums / counts[:, None]
    within = (scatter - (means * counts[:, None]).T @ means) / counts.sum()
    d = len(within)
    # Few rows cannot determine d x d values, so the covariance is shrunk toward a multiple of the
    # identity, as if d more rows with isotropic variance had been seen.
    shrinkage = d / (d + counts.sum())
    shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / d * np.eye(d)
    values, vectors = np.linalg.eigh(shrunk)
    whitener = vectors / np.sqrt(np.maximum(values, 1e-12))
    return ClassReference(
        means=(means @ whitener).astype(np.float32),
        whitener=whitener.astype(np.float32),
        fingerprints=np.unique(fingerprints),
    )


def sum_up(embeddings: ds.Dataset, labels: Sequence[Any]) -> tuple[ClassReference, list[int]]:
    """Compute the gate's reference, and the number of distinct texts per class.

    In addition to sums, it holds two 64-bit hashes per row, to detect copies and distinct texts
    (`smotext_ray.utils.text`). Where there are no texts (epsilon), no text is known to be a copy,
    and each row counts as a text of its own.

    Parameters
    ----------
    embeddings : pyarrow.dataset.Dataset
        ``label, embedding`` and, except with epsilon, ``text``.
    labels : sequence
        Row i of the class means is for ``labels[i]``.
    """
    code = {label: i for i, label in enumerate(labels)}
    counts = np.zeros(len(labels), np.int64)
    has_texts = "text" in embeddings.schema.names
    dim = embeddings.schema.field("embedding").type.list_size
    sums, scatter = np.zeros((len(labels), dim)), np.zeros((dim, dim))
    prints = [np.empty(0, np.int64)]
    distinct = [np.empty((0, 2), np.int64)]  # class and hash
    columns = ["label", "embedding", *(["text"] if has_texts else [])]
    for batch in embeddings.to_batches(columns=columns):
        if not len(batch):
            continue
        table = pa.Table.from_batches([batch])
        x = matrix(table["embedding"]).astype(np.float64)
        rows = np.array([code[label] for label in table["label"].to_pylist()])
        np.add.at(sums, rows, x)
        np.add.at(counts, rows, 1)
        scatter += x.T @ x
        if has_texts:
            texts = table["text"].to_pylist()
            prints.append(np.array([fingerprint(text) for text in texts], np.int64))
            hashes = np.array([text_hash(distinct_part(text)) for text in texts], np.int64)
            distinct.append(np.stack([rows, hashes], axis=1))
    reference = class_reference(counts, sums, scatter, np.concatenate(prints))
    if has_texts:
        owners = np.unique(np.concatenate(distinct), axis=0)[:, 0]
        counts = np.bincount(owners, minlength=len(labels))
    return reference, counts.tolist()
