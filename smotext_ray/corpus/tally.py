"""Running counts of a corpus that is read block by block."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.blocks import Block
from smotext_ray.corpus.column_types import is_string
from smotext_ray.corpus.digest import RowDigest
from smotext_ray.corpus.validation import REASONS, read_ids, validate_rows
from smotext_ray.tables import count_labels, is_list, label_pairs
from smotext_ray.utils.text import distinct_part

EXAMPLES = 5


@dataclass
class Tally:
    """Rows, labels and text lengths so far, and which rows are bad and why."""

    seen: int = 0
    good: int = 0
    characters: int = 0
    labels: Counter[Any] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Any]] = field(default_factory=dict)
    digest: RowDigest = field(default_factory=RowDigest)
    distinct: dict[Any, set[int]] = field(default_factory=dict)  # hashes of the first two texts
    # 8 bytes per row, the only thing here that grows with the corpus: the id itself, or the hash of
    # a string (ids with the same hash are read again and compared).
    hashes: array[int] = field(default_factory=lambda: array("q"))

    def add(self, block: Block, config: InputConfig) -> None:
        """Count the rows of one more block."""
        text, label, verdict = validate_rows(block, config)
        ids = read_ids(block, config, self.seen)
        for code, reason in enumerate(REASONS, 1):
            rows = np.flatnonzero(verdict == code)
            if rows.size:
                self.bad[reason] += rows.size
                examples = self.examples.setdefault(reason, [])
                first = rows[: EXAMPLES - len(examples)]
                examples += ids.take(pa.array(first)).to_pylist()
        good = pa.array(verdict == 0)
        texts, labels = text.filter(good), label.filter(good)
        self.characters += pc.sum(pc.utf8_length(texts)).as_py() or 0
        self.digest.add(self.good, texts, labels)
        rows, each = label_pairs(labels)
        self.labels.update(count_labels(each))
        self._add_distinct(texts.take(pa.array(rows)) if is_list(labels.type) else texts, each)
        if config.id_column is not None:
            self.hashes.frombytes(id_hashes(ids).tobytes())
        self.seen += block.table.num_rows
        self.good += int((verdict == 0).sum())

    def _add_distinct(self, texts: pa.Array, labels: pa.Array) -> None:
        for label in labels.unique().to_pylist():
            known = self.distinct.setdefault(label, set())
            if len(known) < 2:
                for text in texts.filter(pc.equal(labels, pa.scalar(label, labels.type))):
                    known.add(hash(distinct_part(text.as_py())))
                    if len(known) == 2:
                        break


def id_hashes(ids: pa.Array) -> np.ndarray:
    """Integers themselves, and the hashes of strings; int64."""
    if is_string(ids.type):
        return np.fromiter(map(hash, ids.to_pylist()), np.int64, len(ids))
    return ids.to_numpy()
