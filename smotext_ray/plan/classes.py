"""The rows of classes for planners, read from ``embeddings/``.

A planner plans a few thousand points of a class that may have millions of rows. It keeps each row's
id and embedding once (large embeddings on disk) and only digests of the texts; it reads just the
few texts that it writes.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from smotext_ray.tables import is_list, label_pairs, label_value_type, matrix
from smotext_ray.utils.text import distinct_part

SMALL_BYTES = 1 << 28  # a corpus with fewer bytes of embeddings is read completely, once
HELD_BYTES = 1 << 30  # larger embeddings go to a local file
ROW_BYTES = 640  # per row in addition to its embedding, including its neighbors
BATCH_ROWS = 8192


@dataclass(frozen=True)
class ClassRows:
    """One class: first one row per text, sorted by id, then the rows that repeat a text.

    Texts that are equal when stripped count as one, represented by the row with the smallest id.
    Without texts each row counts as a distinct text.

    Attributes
    ----------
    label : object
    label_type : pyarrow.DataType
    ids : pyarrow.Array, length n
        Unique.
    by_id : ndarray of int64, shape (n,)
        Row numbers sorted by id.
    text_of_row : ndarray of int64, shape (n,)
        The representative row of each row's text.
    distinct : int
        Number of distinct texts; rows from here on are repeats.
    embeddings : ndarray of float32, shape (n, d)
    file_rows : ndarray of int64, shape (n,)
        Row number of each row in the files.
    label_sets : pyarrow.ListArray of length n, or None
        All labels of each row; None if each row has one.
    """

    label: Any
    label_type: pa.DataType
    ids: pa.Array
    by_id: NDArray[np.int64]
    text_of_row: NDArray[np.int64]
    distinct: int
    embeddings: NDArray[np.float32]
    file_rows: NDArray[np.int64]
    label_sets: pa.ListArray | None = None


@dataclass(frozen=True)
class DistinctTexts:
    """The texts of all classes, one row each: by class, then by id.

    As in `ClassRows`, equal texts of a class count as one; with different labels they stay
    distinct.

    Attributes
    ----------
    labels : list
        In an order that depends only on the labels.
    label_type : pyarrow.DataType
    code : ndarray of int64, shape (t,)
        Class index of each text in ``labels``, ascending.
    ids : pyarrow.Array, length t
        Ids of the representative rows.
    copies : ndarray of int64, shape (t,)
        Number of corpus rows with the text.
    embeddings : ndarray of float32, shape (t, d)
    """

    labels: list[Any]
    label_type: pa.DataType
    code: NDArray[np.int64]
    ids: pa.Array
    copies: NDArray[np.int64]
    embeddings: NDArray[np.float32]

    def of_class(self, label: Any) -> slice:
        """The texts of a class."""
        code = self.labels.index(label)
        start, stop = np.searchsorted(self.code, [code, code + 1])
        return slice(int(start), int(stop))


class ClassReader:
    """Reads classes of ``embeddings/``: a small corpus completely and once, a large one on demand.

    For a large corpus it keeps the most recently read classes, because many files plan one large
    class.
    """

    def __init__(self, source: ds.Dataset) -> None:
        self._source = source
        dim = source.schema.field("embedding").type.list_size
        self._whole = is_small(self._source.count_rows(), dim)
        self._classes: dict[Any, ClassRows] = {}

    def __call__(self, labels: list[Any]) -> list[ClassRows]:
        """The rows of each of these classes."""
        if not self._classes.keys() >= set(labels):
            self._classes = {}  # free memory before reading the next ones
            wanted = _every_label(self._source, labels) if self._whole else labels
            self._classes = {rows.label: rows for rows in read_classes(self._source, wanted)}
        return [self._classes[label] for label in labels]

    @property
    def held(self) -> list[Any]:
        """The labels of the classes currently in memory."""
        return list(self._classes)

    def texts(self, rows: pa.ChunkedArray) -> pa.ChunkedArray:
        """Texts of rows by row number in the files; nulls for runs with epsilon."""
        return read_texts(self._source, rows)


def rows_gib(rows: int, dim: int) -> float:
    """Memory for a number of rows, in GiB: embeddings not kept on disk, and other data per row."""
    return (min(4 * rows * dim, HELD_BYTES) + ROW_BYTES * rows) / 1024**3


def is_small(rows: int, dim: int) -> bool:
    """Whether a `ClassReader` reads a corpus of this size completely."""
    return 4 * rows * dim <= SMALL_BYTES


def _every_label(source: ds.Dataset, labels: list[Any]) -> list[Any]:
    found = label_pairs(source.to_table(columns=["label"])["label"])[1].unique().to_pylist()
    return list(dict.fromkeys([*found, *labels]))


def read_classes(source: ds.Dataset, labels: Sequence[Any]) -> list[ClassRows]:
    """Read the rows of some classes.

    Parameters
    ----------
    source : pyarrow.dataset.Dataset
        ``id, label, embedding`` and, except for runs with epsilon, ``text``; in any order.
    labels : sequence
        Distinct.

    Raises
    ------
    ValueError
        When a class has no row, or embeddings hold nulls.
    """
    found = _find(source, labels)
    order, row_of, text_of_row, repeats = _layout(found)
    embeddings = _embeddings(source, found.row, row_of)
    counts = np.bincount(found.code, minlength=len(labels))
    if not counts.all():
        raise ValueError(f"There are no rows of class {labels[int(counts.argmin())]!r}.")
    ends = np.cumsum(counts)
    classes = []
    for label, start, end in zip(labels, ends - counts, ends, strict=True):
        own = order[start:end]
        classes.append(
            ClassRows(
                label=label,
                label_type=label_value_type(source.schema.field("label").type),
                ids=found.ids.take(pa.array(own)),
                by_id=np.argsort(found.rank[own]),
                text_of_row=text_of_row[start:end] - start,
                distinct=int((~repeats[start:end]).sum()),
                embeddings=embeddings[start:end],
                file_rows=found.row[own],
                label_sets=found.sets.take(pa.array(own)) if found.sets is not None else None,
            )
        )
    return classes


def read_corpus(source: ds.Dataset, labels: Sequence[Any]) -> DistinctTexts:
    """Read the texts of a whole corpus; large embeddings are kept on disk.

    Parameters
    ----------
    source : pyarrow.dataset.Dataset
        As in `read_classes`.
    labels : sequence
        All classes.
    """
    labels = sorted(labels, key=lambda label: (str(label), type(label).__name__))
    found = _find(source, labels)
    order, row_of, text_of_row, repeats = _layout(found)
    number = np.cumsum(~repeats) - 1  # index of the text, for representative rows
    stands = ~repeats[row_of]
    texts = order[~repeats]
    return DistinctTexts(
        labels=labels,
        label_type=source.schema.field("label").type,
        code=found.code[texts],
        ids=found.ids.take(pa.array(texts)),
        copies=np.bincount(number[text_of_row], minlength=len(texts)),
        embeddings=_embeddings(source, found.row[stands], number[row_of[stands]]),
    )


def read_texts(source: ds.Dataset, rows: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts of rows by row number in the files; nulls for runs with epsilon."""
    if "text" not in source.schema.names:
        return pa.chunked_array([pa.nulls(len(rows), pa.string())])
    return source.take(rows.combine_chunks(), columns=["text"])["text"].cast(pa.string())


@dataclass(frozen=True)
class _Found:
    """Rows of the requested classes, in file order; once per class that a row belongs to."""

    row: NDArray[np.int64]  # row number in the dataset
    code: NDArray[np.int64]  # class index among the requested ones
    ids: pa.Array
    rank: NDArray[np.int64]  # rank of the id
    digest: NDArray[np.uint64]  # digest of the stripped text, shape (n, 2)
    sets: pa.ListArray | None  # all labels, if a row may have several


def _find(source: ds.Dataset, labels: Sequence[Any]) -> _Found:
    kind = source.schema.field("label").type
    wanted = pa.array(labels, label_value_type(kind))
    has_texts = "text" in source.schema.names
    rows, codes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    digests = [np.empty((0, 2), np.uint64)]
    ids = [pa.array([], source.schema.field("id").type)]
    sets = [pa.array([], kind)]
    for first, batch in _batches(source, ["id", "label", *(["text"] if has_texts else [])]):
        of_row, label = label_pairs(batch["label"])
        code = pc.index_in(label, value_set=wanted)
        here = of_row[code.is_valid().to_numpy(zero_copy_only=False)]
        batch = batch.take(pa.array(here))
        rows.append(first + here)
        if is_list(kind):
            sets.append(batch["label"])
        codes.append(code.drop_null().to_numpy().astype(np.int64))
        ids.append(batch["id"])
        digests.append(_digests(batch["text"]) if has_texts else _numbers(rows[-1]))
    all_ids = pa.concat_arrays(ids)
    rank = np.empty(len(all_ids), np.int64)
    rank[pc.sort_indices(all_ids).to_numpy()] = np.arange(len(all_ids))
    return _Found(
        np.concatenate(rows),
        np.concatenate(codes),
        all_ids,
        rank,
        np.concatenate(digests),
        pa.concat_arrays(sets) if is_list(kind) else None,
    )


def _digests(texts: pa.Array) -> NDArray[np.uint64]:
    # 128 bits, so that different texts never collide by chance.
    begin = hashlib.blake2b(digest_size=16).copy  # takes half the time of creating one per text
    digests = []
    for text in texts.to_pylist():
        digest = begin()
        digest.update(distinct_part(text).encode())
        digests.append(digest.digest())
    joined = b"".join(digests)
    return np.frombuffer(joined, np.uint64).reshape(-1, 2)


def _numbers(rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    return np.stack([rows, rows], axis=1).astype(np.uint64)


def _layout(
    found: _Found,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """The layout of `ClassRows`, class by class.

    Returns
    -------
    order : ndarray of int64
        Indices into ``found``.
    row_of : ndarray of int64
        Row of the layout for each index into ``found``.
    text_of_row : ndarray of int64
        Representative row of each row of the layout.
    repeats : ndarray of bool
        Whether each row of the layout is a repeat.
    """
    high, low = found.digest.T
    alike = np.lexsort((found.rank, low, high, found.code))
    new = np.ones(len(alike), bool)
    new[1:] = (np.diff(found.code[alike]) != 0) | (
        found.digest[alike[1:]] != found.digest[alike[:-1]]
    ).any(axis=1)
    stands = np.empty(len(alike), np.int64)  # for each index into found
    stands[alike] = alike[np.flatnonzero(new)][np.cumsum(new) - 1]
    repeats = stands != np.arange(len(stands))
    order = np.lexsort((found.rank, repeats, found.code))
    row_of = np.empty(len(order), np.int64)
    row_of[order] = np.arange(len(order))
    return order, row_of, row_of[stands[order]], repeats[order]


def _embeddings(
    source: ds.Dataset, rows: NDArray[np.int64], row_of: NDArray[np.int64]
) -> NDArray[np.float32]:
    out: NDArray[np.float32] | None = None
    for first, batch in _batches(source, ["embedding"]):
        start, stop = np.searchsorted(rows, [first, first + len(batch)])
        here = matrix(pa.chunked_array([batch["embedding"]]))
        if out is None:
            out = _room(len(rows), here.shape[1])
        picked = rows[start:stop] - first
        if not np.array_equal(picked, np.arange(len(here))):
            here = here[picked]
        out[row_of[start:stop]] = here
    return np.empty((0, 0), np.float32) if out is None else out


def _room(rows: int, width: int) -> NDArray[np.float32]:
    size = 4 * rows * width
    if size <= HELD_BYTES:
        return np.empty((rows, width), np.float32)
    with tempfile.TemporaryFile() as file:
        # A full disk raises an error here; later it would be a fatal signal.
        os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, np.float32, "r+", shape=(rows, width))


def _batches(source: ds.Dataset, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield batches in file order, each with the number of its first row."""
    first = 0
    for batch in source.to_batches(
        columns=columns, batch_size=BATCH_ROWS, batch_readahead=4, fragment_readahead=2
    ):
        yield first, batch
        first += len(batch)
