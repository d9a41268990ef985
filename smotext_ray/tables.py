"""Columns of the tables passed between stages, and conversion of embedding columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WEIGHT = "sample_weight"  # scikit-learn's name; corpora may have a column "weight"


def fixed_size_list(matrix_: np.ndarray) -> pa.FixedSizeListArray:
    """A float32 matrix as a column that pyarrow, pandas and ``datasets`` all read."""
    values = pa.array(np.ascontiguousarray(matrix_, dtype=np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(values, matrix_.shape[1])


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A list column as a float32 matrix of shape (rows, length); it may be read-only.

    Raises
    ------
    ValueError
        If the column holds nulls, or lists of different lengths.
    """
    if column.null_count:
        raise ValueError(f"The embedding column holds {column.null_count} nulls.")
    if not len(column):
        return np.empty((0, getattr(column.type, "list_size", 0)), np.float32)
    if not pa.types.is_fixed_size_list(column.type):
        lengths = pc.unique(pc.list_value_length(column))
        if len(lengths) > 1:
            raise ValueError(f"The embeddings have different lengths: {lengths.to_pylist()[:5]}.")
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)  # saves one large copy
    return values.astype(np.float32, copy=False).reshape(len(column), -1)


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists of any length."""
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def label_value_type(kind: pa.DataType) -> pa.DataType:
    """The type of a single label, for a column of labels or of lists of labels."""
    return kind.value_type if is_list(kind) else kind


def label_pairs(labels: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Each row with each of its labels, in the order of the rows.

    Parameters
    ----------
    labels : pyarrow.Array or ChunkedArray
        A label per row, or a list of them.

    Returns
    -------
    rows : ndarray of int64
        Row numbers; 0, 1, ... if each row has one label.
    labels : pyarrow.Array
        Of the same length.

    Examples
    --------
    >>> rows, labels = label_pairs(pa.array([["ship", "grain"], [], ["ship"]]))
    >>> rows.tolist(), labels.to_pylist()
    ([0, 0, 2], ['ship', 'grain', 'ship'])
    """
    if isinstance(labels, pa.ChunkedArray):
        labels = labels.combine_chunks()
    if not is_list(labels.type):
        return np.arange(len(labels)), labels
    lengths = pc.list_value_length(labels).fill_null(0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(labels)), lengths), labels.flatten()


def count_labels(labels: pa.Array | pa.ChunkedArray) -> Counter[Any]:
    """Number of rows of each class, or with each label.

    Examples
    --------
    >>> dict(count_labels(pa.array([["ship", "grain"], [], ["ship"]])))
    {'ship': 2, 'grain': 1}
    """
    counts = pc.value_counts(label_pairs(labels)[1]).to_pylist()
    return Counter({entry["values"]: entry["counts"] for entry in counts})


def corpus_schema(id_type: pa.DataType, label_type: pa.DataType) -> pa.Schema:
    """Columns of ``corpus/`` that precede the input's other columns."""
    return pa.schema([("id", id_type), ("text", pa.string()), ("label", label_type)])


def embeddings_schema(
    id_type: pa.DataType, label_type: pa.DataType, dim: int, has_texts: bool = True
) -> pa.Schema:
    """Columns of ``embeddings/``; a run with epsilon has no texts there."""
    corpus = corpus_schema(id_type, label_type)
    kept = [field for field in corpus if has_texts or field.name != "text"]
    return pa.schema([*kept, ("embedding", pa.list_(pa.float32(), dim))])


def weights_schema(id_type: pa.DataType, label_type: pa.DataType) -> pa.Schema:
    """Columns of ``weights/``; the last two only if the SMOTE variant has them."""
    return pa.schema(
        [
            ("label", label_type),
            ("id", id_type),
            ("weight", pa.float64()),
            ("cluster", pa.int32()),
            ("reach", pa.float32()),
        ]
    )


def plan_schema(
    id_type: pa.DataType,
    label_type: pa.DataType,
    dim: int,
    neighbors_per_point: int = 1,
    has_sets: bool = False,
) -> pa.Schema:
    """Columns of a plan table; ids and labels keep the types they have in the corpus.

    If several neighbors are mixed, those beyond the first are in `OTHERS`, a list per point. If
    rows have several labels, ``label`` is the one that a point is made for, and ``labels`` has all
    that it gets.
    """
    others = [
        ("other_neighbor_ids", pa.list_(id_type)),
        ("other_lams", pa.list_(pa.float32())),
        ("other_neighbor_texts", pa.list_(pa.string())),
    ]
    return pa.schema(
        [
            ("sample_id", pa.int64()),
            ("label", label_type),
            ("source_id", id_type),
            ("neighbor_id", id_type),
            ("lam", pa.float32()),
            ("seed", pa.int64()),
            ("round", pa.int32()),
            ("source_text", pa.string()),
            ("neighbor_text", pa.string()),
            *(others if neighbors_per_point > 1 else ()),
            *([("labels", pa.list_(label_type))] if has_sets else ()),
            ("point", pa.list_(pa.float32(), dim)),
        ]
    )


def candidates_schema() -> pa.Schema:
    """Columns that a decoder adds to plan rows: lists of one value per candidate, and an error."""
    return pa.schema(
        [
            ("texts", pa.list_(pa.string())),
            ("finish_reasons", pa.list_(pa.string())),
            ("tokens", pa.list_(pa.int32())),
            ("error", pa.string()),
        ]
    )


def outcome_schema(label_type: pa.DataType, has_sets: bool = False) -> pa.Schema:
    """Columns with the outcome of a plan row.

    If rows have several labels, ``labels`` has those of the point that the text has kept, and the
    predicted label is null.
    """
    return pa.schema(
        [
            *([("labels", pa.list_(label_type))] if has_sets else ()),
            ("text", pa.string()),
            ("finish_reason", pa.string()),
            ("num_tokens", pa.int32()),
            ("cosine_to_point", pa.float32()),
            ("predicted_label", label_type),
            ("status", pa.string()),
            ("reason", pa.string()),
        ]
    )


def samples_schema(
    id_type: pa.DataType,
    label_type: pa.DataType,
    neighbors_per_point: int = 1,
    has_sets: bool = False,
) -> pa.Schema:
    """Columns of a samples table: those of the plan except texts and points, and the outcome."""
    plan = plan_schema(id_type, label_type, 1, neighbors_per_point)
    gone = {"source_text", "neighbor_text", "other_neighbor_texts", "point"}
    kept = [field for field in plan if field.name not in gone]
    return pa.schema([*kept, *outcome_schema(label_type, has_sets)])


def result_schema(own: pa.Schema, id_type: pa.DataType, neighbors_per_point: int = 1) -> pa.Schema:
    """Columns of the result: the input's own, its lineage, and the row's weight in training.

    A corpus read by a version without weights may have a column of that name; it is kept.
    """
    samples = samples_schema(id_type, pa.null(), neighbors_per_point)
    gone = {"label", "seed", *outcome_schema(pa.null()).names} - {"cosine_to_point"}
    added = [field for field in samples if field.name not in gone]
    # The lists come before the round, as in existing results.
    added.sort(key=lambda field: field.name in {"round", "cosine_to_point"})
    weight = [] if WEIGHT in own.names else [pa.field(WEIGHT, pa.float32())]
    return pa.schema([*own, ("synthetic", pa.bool_()), *added, *weight], own.metadata)


def sample_table(
    table: pa.Table, outcomes: Sequence[dict[str, Any]], label_type: pa.DataType
) -> pa.Table:
    """The lineage and the outcome of plan rows; whatever an outcome lacks is null."""
    samples = table.select(
        [*SAMPLE_LINEAGE, *(name for name in KEPT_OTHERS if name in table.column_names)]
    )
    for field in outcome_schema(label_type, "labels" in table.column_names):
        values = pa.array([outcome.get(field.name) for outcome in outcomes], field.type)
        samples = samples.append_column(field, values)
    return samples


_ONE, _MIXED = (plan_schema(pa.int64(), pa.null(), 1, n).names for n in (1, 2))
_SAMPLES = samples_schema(pa.int64(), pa.null()).names
_MIXED_SAMPLES = samples_schema(pa.int64(), pa.null(), 2).names
_RESULT = result_schema(pa.schema([]), pa.int64()).names

# Columns of neighbors beyond the first, if several are mixed: a list per point.
OTHERS = tuple(name for name in _MIXED if name not in _ONE)
KEPT_OTHERS = tuple(name for name in OTHERS if name in _MIXED_SAMPLES)
# Row numbers of the parents, in place of their texts until these are read.
PARENTS = ("source_row", "neighbor_row", "other_neighbor_rows")
SAMPLE_LINEAGE = [name for name in _ONE if name in _SAMPLES]
RESULT_LINEAGE = [name for name in _RESULT if name not in {"synthetic", WEIGHT}]
FRAME_LINEAGE = [name for name in _SAMPLES if name in {*RESULT_LINEAGE, "seed"}]
# The columns that the result adds to the input's own.
RESERVED = frozenset(result_schema(pa.schema([]), pa.int64(), 2).names)
