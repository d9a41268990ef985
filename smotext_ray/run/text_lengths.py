"""Lengths of a result's texts: the new ones, and the real ones of classes that got new ones."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from smotext_ray.run.facts import TextLengths

SHARES = (0.1, 0.5, 0.9)


class WordCounts:
    """Counts texts by their number of words, split at white space; memory is bounded."""

    def __init__(self) -> None:
        self._texts: Counter[int] = Counter()

    def add(self, texts: pa.ChunkedArray) -> None:
        """Count a column of texts; nulls are left out."""
        parts = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts.drop_null()))
        for each in pc.value_counts(pc.list_value_length(parts)).to_pylist():
            self._texts[each["values"]] += each["counts"]

    def lengths(self) -> TextLengths | None:
        """Lengths of the texts in words; None without texts."""
        total, seen = self._texts.total(), 0
        found: list[int] = []
        for words, texts in sorted(self._texts.items()):
            seen += texts
            while len(found) < len(SHARES) and seen >= SHARES[len(found)] * total:
                found.append(words)
        return TextLengths(low=found[0], median=found[1], high=found[2]) if found else None
