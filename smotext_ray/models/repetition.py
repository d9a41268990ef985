"""Which tokens would repeat an n-gram of a text in progress."""

from __future__ import annotations

from collections.abc import Sequence

ARGUMENT = "no_repeat_ngram"  # of vLLM's requests: the n of the n-grams


class Seen:
    """Which tokens have followed each sequence of ``n - 1`` tokens in a growing text.

    Parameters
    ----------
    n : int, at least 2
    tokens : sequence of int
        May grow between calls; each call reads only what is new.

    Examples
    --------
    >>> text = [5, 6, 7, 5]
    >>> seen = Seen(2, text)
    >>> seen.would_repeat()
    {6}
    >>> text.append(8)
    >>> seen.would_repeat()
    set()
    """

    def __init__(self, n: int, tokens: Sequence[int]) -> None:
        self.n = n
        self.tokens = tokens
        self._followers: dict[tuple[int, ...], set[int]] = {}
        self._read = n - 1

    def would_repeat(self) -> set[int]:
        """The tokens that would end an n-gram that the text already has."""
        for end in range(self._read, len(self.tokens)):
            before = tuple(self.tokens[end - self.n + 1 : end])
            self._followers.setdefault(before, set()).add(self.tokens[end])
        self._read = max(self._read, len(self.tokens))
        if len(self.tokens) < self.n:
            return set()
        return self._followers.get(tuple(self.tokens[len(self.tokens) - self.n + 1 :]), set())
