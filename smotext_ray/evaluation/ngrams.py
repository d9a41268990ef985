"""Word n-grams and overlap between texts."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from smotext_ray.utils.text import words

Gram = tuple[str, ...]
SHINGLE = 3  # words


def ngrams(tokens: Sequence[str], n: int) -> list[Gram]:
    """All runs of ``n`` words, in order; empty if there are fewer words.

    Examples
    --------
    >>> ngrams(["a", "b", "c"], 2)
    [('a', 'b'), ('b', 'c')]
    """
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def shingles(text: str) -> frozenset[Gram]:
    """Distinct word 3-grams; a shorter text is a single gram, a text without words has none."""
    tokens = words(text)
    return frozenset(ngrams(tokens, min(SHINGLE, len(tokens)))) if tokens else frozenset()


def jaccard(a: frozenset[Gram], b: frozenset[Gram]) -> float:
    """Intersection over union, in [0, 1]; 0 if both are empty."""
    return len(a & b) / len(a | b) if a or b else 0.0


def longest_shared_run(text: str, other: str) -> int:
    """Length in words of the longest run two texts share, ignoring case and punctuation.

    Examples
    --------
    >>> longest_shared_run("The ship sank off Crete.", "A ship sank off Malta")
    3
    """
    matcher = SequenceMatcher(None, words(text), words(other), autojunk=False)
    return matcher.find_longest_match().size


class ShingleIndex:
    """Exact near-duplicate lookup over many texts.

    An inverted index over word 3-grams. Two sets of Jaccard similarity ``t`` or more share
    at least ``t |a|`` grams of ``a``, so one of its ``|a| - ceil(t |a|) + 1`` rarest ones
    (prefix filtering; Chaudhuri, Ganti, Kaushik: A primitive operator for similarity joins
    in data cleaning, ICDE 2006): only the texts listed under those are compared.

    Parameters
    ----------
    texts : iterable of str
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = list({grams for grams in map(shingles, texts) if grams})
        self._holders: dict[Gram, list[int]] = defaultdict(list)
        for number, grams in enumerate(self._texts):
            for gram in grams:
                self._holders[gram].append(number)

    def holds_near(self, text: str, threshold: float) -> bool:
        """Whether any indexed text has Jaccard similarity of at least ``threshold``, in (0, 1]."""
        grams = shingles(text)
        if not grams:
            return False
        rarest_first = sorted(grams, key=lambda gram: len(self._holders.get(gram, ())))
        # Float error must not round 0.8 * 5 up to 5.
        prefix = len(grams) - math.ceil(threshold * len(grams) - 1e-9) + 1
        candidates = Counter(n for g in rarest_first[:prefix] for n in self._holders.get(g, ()))
        return any(jaccard(grams, self._texts[number]) >= threshold for number in candidates)
