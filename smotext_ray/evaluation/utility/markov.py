"""A control without a model: texts from a Markov chain over the words of a class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

END = ""  # after the last word of a text; no word is empty


@dataclass(frozen=True)
class Chain:
    """A Markov chain of order 1 over words.

    Attributes
    ----------
    starts : list of (row, first word)
        One per text with words.
    after : mapping of word to list of (row, next word)
        Every occurrence of the word; ``END`` follows the last word of a text.
    longest : int
        Number of words of the longest text.
    """

    starts: list[tuple[int, str]]
    after: dict[str, list[tuple[int, str]]]
    longest: int

    def text(self, rng: np.random.Generator) -> tuple[str, set[int]]:
        """A text, and the rows whose word pairs it uses."""
        words: list[str] = []
        rows: set[int] = set()
        for row, word in self._walk(rng):
            rows.add(row)
            words.append(word)
        return " ".join(words), rows

    def _walk(self, rng: np.random.Generator) -> Iterator[tuple[int, str]]:
        row, word = self.starts[rng.integers(len(self.starts))]
        for _ in range(self.longest):
            yield row, word
            places = self.after[word]
            row, word = places[rng.integers(len(places))]
            if word == END:
                return


def chain(texts: Sequence[str], rows: Sequence[int]) -> Chain | None:
    """The chain of a class's texts; None if they have no words.

    Parameters
    ----------
    texts : sequence of str
    rows : sequence of int
        The number of each text, which `Chain.text` returns.

    Examples
    --------
    >>> made = chain(["oil rose", "oil fell"], [4, 7])
    >>> sorted(made.after["oil"])
    [(4, 'rose'), (7, 'fell')]
    """
    starts: list[tuple[int, str]] = []
    after: dict[str, list[tuple[int, str]]] = defaultdict(list)
    longest = 0
    for text, row in zip(texts, rows, strict=True):
        words = text.split()
        if not words:
            continue
        starts.append((row, words[0]))
        longest = max(longest, len(words))
        for word, following in zip(words, [*words[1:], END], strict=True):
            after[word].append((row, following))
    return Chain(starts, dict(after), longest) if starts else None
