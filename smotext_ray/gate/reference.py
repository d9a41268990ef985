"""The gate's reference: a classifier of the corpus embeddings, and text fingerprints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from smotext_ray.tables import label_pairs, matrix
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
        return has_fingerprint(self.fingerprints, text)


def has_fingerprint(fingerprints: np.ndarray, text: str) -> bool:
    """Whether a text's fingerprint is among these, which are sorted."""
    wanted = fingerprint(text)
    at = int(np.searchsorted(fingerprints, wanted))
    return at < len(fingerprints) and int(fingerprints[at]) == wanted


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
    whitener = whitener_of(within, counts.sum())
    return ClassReference(
        means=(means @ whitener).astype(np.float32),
        whitener=whitener.astype(np.float32),
        fingerprints=np.unique(fingerprints),
    )


def whitener_of(covariance: np.ndarray, rows: float) -> np.ndarray:
    """The matrix that transforms embeddings to unit covariance; shape (d, d), float64.

    Few rows cannot determine d x d values, so the covariance is shrunk toward a multiple of the
    identity, as if d more rows with isotropic variance had been seen.
    """
    d = len(covariance)
    shrinkage = d / (d + rows)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / d * np.eye(d)
    values, vectors = np.linalg.eigh(shrunk)
    return np.asarray(vectors / np.sqrt(np.maximum(values, 1e-12)))


def sum_up(
    embeddings: ds.Dataset, labels: Sequence[Any], corpus: ds.Dataset
) -> tuple[ClassReference, list[int]]:
    """Compute the gate's reference, and the number of distinct texts per class.

    In addition to the sums, it keeps two 64-bit hashes per corpus row in memory, to detect copies
    and distinct texts (`smotext_ray.utils.text`). Without texts (epsilon), no text is recognized
    as a copy, and each row counts as a distinct text.

    Parameters
    ----------
    embeddings : pyarrow.dataset.Dataset
        ``label, embedding``, of some rows of each class. In the covariance a row has as its weight
        the square root of its class's number of rows per embedded row. A weight of 1 would distort
        the covariance, the full ratio would make it depend more on which rows were chosen, and
        with either, fewer verdicts agree with those from all rows (benchmarks/reference_rows.py).
    labels : sequence
        Row i of the class means is for ``labels[i]``.
    corpus : pyarrow.dataset.Dataset
        ``label`` and, except with epsilon, ``text``, of all rows.
    """
    counts, distinct, prints = count_texts(corpus, labels)
    embedded = _count_rows(embeddings, labels)
    weights = np.sqrt(counts / np.maximum(embedded, 1))
    dim = embeddings.schema.field("embedding").type.list_size
    sums, scatter = np.zeros((len(labels), dim)), np.zeros((dim, dim))
    for _, rows, table in batches(embeddings, labels, ["embedding"]):
        x = matrix(table["embedding"]).astype(np.float64)
        weighted = x * weights[rows, None]
        np.add.at(sums, rows, weighted)
        scatter += weighted.T @ x
    return class_reference(embedded * weights, sums, scatter, prints), distinct.tolist()


def count_texts(
    corpus: ds.Dataset, labels: Sequence[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows and distinct texts per class or label, and the fingerprint of every text."""
    has_texts = "text" in corpus.schema.names
    counts = np.zeros(len(labels), np.int64)
    prints = [np.empty(0, np.int64)]
    distinct = [np.empty((0, 2), np.int64)]  # class and hash
    for of_row, codes, table in batches(corpus, labels, ["text"] if has_texts else []):
        counts += np.bincount(codes, minlength=len(labels))
        if has_texts:
            texts = table["text"].to_pylist()
            prints.append(np.array([fingerprint(text) for text in texts], np.int64))
            hashes = np.array([text_hash(distinct_part(text)) for text in texts], np.int64)
            distinct.append(np.stack([codes, hashes[of_row]], axis=1))
    if not has_texts:
        return counts, counts, prints[0]
    owners = np.unique(np.concatenate(distinct), axis=0)[:, 0]
    return counts, np.bincount(owners, minlength=len(labels)), np.concatenate(prints)


def _count_rows(table: ds.Dataset, labels: Sequence[Any]) -> NDArray[np.int64]:
    counts = np.zeros(len(labels), np.int64)
    for _, codes, _ in batches(table, labels, []):
        counts += np.bincount(codes, minlength=len(labels))
    return counts


def batches(
    table: ds.Dataset, labels: Sequence[Any], columns: list[str]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], pa.Table]]:
    """Yield batches of rows, each with its rows' numbers and the indices of their labels.

    A row occurs once per label: just once in a corpus with one class per row.
    """
    code = {label: i for i, label in enumerate(labels)}
    for batch in table.to_batches(columns=["label", *columns]):
        if len(batch):
            of_row, each = label_pairs(batch["label"])
            codes = np.array([code[label] for label in each.to_pylist()], np.int64)
            yield of_row, codes, pa.Table.from_batches([batch])
