"""How often each text has each word, counted once per text.

An evaluation reads the same texts in dozens of training sets, and splitting texts into words takes
most of the time of TF-IDF.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

MOST_TEXTS = 100_000  # kept; beyond that, all are dropped at once


class TermCounts:
    """Counts of terms, as computed by scikit-learn's ``CountVectorizer``.

    Parameters
    ----------
    analyze : callable
        Maps a text to its terms.
    """

    def __init__(self, analyze: Callable[[str], Sequence[str]]) -> None:
        self._analyze = analyze
        self._forget()

    def __call__(self, train: Sequence[str], unseen: Sequence[str]) -> tuple[Any, Any]:
        """Counts of the terms of ``train`` in both.

        Returns
        -------
        two csr_matrix of shape (texts, terms)
            Terms are in alphabetical order.
        """
        if len(self._of_text) > MOST_TEXTS:
            self._forget()
        known = [self._counted(train), self._counted(unseen)]
        width = len(self._place)
        inside, outside = (_matrix(rows, width) for rows in known)
        terms = np.flatnonzero(inside.getnnz(axis=0))
        terms = terms[np.argsort(self._alphabetical()[terms])]
        return _columns(inside, terms), _columns(outside, terms)

    def _forget(self) -> None:
        self._place: dict[str, int] = {}
        self._of_text: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._ranks = np.empty(0, np.int64)

    def _counted(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        found = []
        for text in texts:
            if text not in self._of_text:
                counts = Counter(self._analyze(text))
                places = [self._place.setdefault(term, len(self._place)) for term in counts]
                self._of_text[text] = (
                    np.array(places, np.int32),
                    np.array(list(counts.values()), np.int32),
                )
            found.append(self._of_text[text])
        return found

    def _alphabetical(self) -> np.ndarray:
        """The rank of each known term."""
        if len(self._ranks) < len(self._place):
            places = [self._place[term] for term in sorted(self._place)]
            self._ranks = np.empty(len(places), np.int64)
            self._ranks[places] = np.arange(len(places))
        return self._ranks


def _matrix(rows: list[tuple[np.ndarray, np.ndarray]], width: int) -> Any:
    from scipy.sparse import csr_matrix

    ends = np.cumsum([0, *(len(places) for places, _ in rows)])
    places = np.concatenate([places for places, _ in rows])
    counts = np.concatenate([counts for _, counts in rows]).astype(np.float64)
    return csr_matrix((counts, places, ends), shape=(len(rows), width))


def _columns(matrix: Any, terms: np.ndarray) -> Any:
    chosen = matrix[:, terms]
    chosen.sort_indices()
    return chosen
