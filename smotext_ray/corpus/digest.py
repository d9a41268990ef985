"""A digest of a corpus, to see whether an input has changed between two readings."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from smotext_ray.tables import is_list

MODULUS = 1 << 64


class RowDigest:
    """Digest of the texts, their order and their labels.

    A sum of hashes per label, so that it does not depend on how rows are split into blocks, nor on
    whether a csv file's labels are read as strings or with their type. Not meant to resist
    deliberate collisions.
    """

    def __init__(self) -> None:
        self._sums: Counter[Any] = Counter()

    def add(self, first: int, texts: Any, labels: Any) -> None:
        """Add rows; the first one is row ``first`` of the corpus.

        Parameters
        ----------
        first : int
        texts, labels : pyarrow.Array or ChunkedArray of the same length
        """
        if not len(texts):
            return
        rows = pd.DataFrame({"row": np.arange(first, first + len(texts)), "text": _objects(texts)})
        hashes = pd.util.hash_pandas_object(rows, index=False, categorize=False).to_numpy()
        labels = pa.chunked_array(labels).combine_chunks()
        if is_list(labels.type):
            labels = pa.array(map(json.dumps, labels.to_pylist()), pa.string())
        encoded = labels.dictionary_encode()
        sums = np.zeros(len(encoded.dictionary), np.uint64)
        np.add.at(sums, encoded.indices.to_numpy(), hashes)  # wraps around
        for label, number in zip(encoded.dictionary.to_pylist(), sums.tolist(), strict=True):
            self._sums[label] = (self._sums[label] + number) % MODULUS

    def of_labels(self, as_type: Callable[[list[Any]], list[Any]] = list) -> str:
        """The digest, 16 hexadecimal digits.

        Parameters
        ----------
        as_type : callable, optional
            Maps labels as they were added to labels of the corpus.
        """
        sums: Counter[Any] = Counter()
        for label, number in zip(as_type(list(self._sums)), self._sums.values(), strict=True):
            sums[label] = (sums[label] + number) % MODULUS
        content = json.dumps(sorted((repr(label), number) for label, number in sums.items()))
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def _objects(texts: Any) -> np.ndarray:
    objects = np.empty(len(texts), object)
    objects[:] = texts.to_pylist()
    return objects
