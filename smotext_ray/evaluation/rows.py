"""Labeled texts and their embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class LabeledTexts:
    """Labeled texts that the user provides in addition to the run."""

    texts: list[str]
    labels: list[str]


@dataclass(frozen=True, eq=False)
class Rows:
    """Labeled texts with their embeddings.

    Attributes
    ----------
    texts : list of str, length n
    embeddings : ndarray of shape (n, d), float32
    labels : list of str, length n
    has_text : bool, default=True
        False if some rows are points without a text, whose ``texts`` are "": only classifiers that
        read embeddings can use them.
    has_embedding : bool, default=True
        False if some rows are not encoded yet, whose ``embeddings`` are NaN: only classifiers that
        read texts can use them; `encoded` fills them in.
    """

    texts: list[str]
    embeddings: np.ndarray
    labels: list[str]
    has_text: bool = True
    has_embedding: bool = True

    def __post_init__(self) -> None:
        if not len(self.texts) == len(self.embeddings) == len(self.labels):
            raise ValueError(
                f"{len(self.texts)} texts, {len(self.embeddings)} embeddings and "
                f"{len(self.labels)} labels must be equal in number."
            )

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int] | np.ndarray) -> Rows:
        """The rows at ``indices``, in that order; repeats are allowed."""
        rows = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            texts=[self.texts[i] for i in rows],
            embeddings=self.embeddings[rows],
            labels=[self.labels[i] for i in rows],
        )

    def joined(self, other: Rows) -> Rows:
        """These rows followed by the others."""
        return Rows(
            self.texts + other.texts,
            np.concatenate([self.embeddings, other.embeddings]),
            self.labels + other.labels,
            self.has_text and other.has_text,
            self.has_embedding and other.has_embedding,
        )


def unencoded(texts: list[str], labels: list[str], dim: int) -> Rows:
    """Rows whose ``dim``-dimensional embeddings are NaN until `encoded` fills them in."""
    absent = np.full((len(texts), dim), np.nan, dtype=np.float32)
    return Rows(texts, absent, labels, has_embedding=False)


def need_texts(train: Rows, test: Rows) -> None:
    """Raise ValueError if rows are points without a text."""
    if not (train.has_text and test.has_text):
        raise ValueError("This classifier reads texts, and some rows are points without one.")


def encoded(rows: Rows, encode: Callable[[list[str]], np.ndarray]) -> Rows:
    """Rows with all embeddings filled in.

    Parameters
    ----------
    rows : Rows
    encode : callable
        Maps texts to embeddings of shape (n, d); called at most once, with the distinct texts
        without an embedding.
    """
    missing = np.flatnonzero(np.isnan(rows.embeddings).any(axis=1))
    if not len(missing):
        return replace(rows, has_embedding=True)
    texts = list(dict.fromkeys(rows.texts[i] for i in missing))
    position = {text: i for i, text in enumerate(texts)}
    embeddings = rows.embeddings.copy()
    embeddings[missing] = encode(texts)[[position[rows.texts[i]] for i in missing]]
    return replace(rows, embeddings=embeddings, has_embedding=True)
