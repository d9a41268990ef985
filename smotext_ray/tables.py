"""Columns of the tables passed between stages, and conversion of embedding columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

SAMPLE_LINEAGE = ["sample_id", "label", "source_id", "neighbor_id", "lam", "seed", "round"]
# Neighbors beyond the first, one list per point, when several are mixed.
OTHERS = ("other_neighbor_ids", "other_lams", "other_neighbor_texts")
KEPT_OTHERS = OTHERS[:2]  # samples do not store their parents' texts
PARENTS = ("source_row", "neighbor_row", "other_neighbor_rows")
RESULT_LINEAGE = ["sample_id", "source_id", "neighbor_id", "lam", "round", "cosine_to_point"]
# Columns that the result adds to those of the input.
RESERVED = frozenset(
    {"synthetic", "sample_id", "source_id", "neighbor_id", "lam", "round", "cosine_to_point"}
    | {"other_neighbor_ids", "other_lams"}
)
FRAME_LINEAGE = ["sample_id", "source_id", "neighbor_id", "lam", "seed", "round", "cosine_to_point"]


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
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)  # saves one large copy
    return values.astype(np.float32, copy=False).reshape(len(column), -1)


def sample_table(
    table: pa.Table, outcomes: Sequence[dict[str, Any]], label_type: pa.DataType
) -> pa.Table:
    """Plan rows' lineage and outcomes; keys missing from an outcome become null."""
    samples = table.select(
        [*SAMPLE_LINEAGE, *(name for name in KEPT_OTHERS if name in table.column_names)]
    )
    fields = [
        pa.field("text", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("num_tokens", pa.int32()),
        pa.field("cosine_to_point", pa.float32()),
        pa.field("predicted_label", label_type),
        pa.field("status", pa.string()),
        pa.field("reason", pa.string()),
    ]
    for field in fields:
        values = pa.array([outcome.get(field.name) for outcome in outcomes], field.type)
        samples = samples.append_column(field, values)
    return samples


def plan_schema(
    id_type: pa.DataType, label_type: pa.DataType, dim: int, neighbors_per_point: int = 1
) -> pa.Schema:
    """Columns of a plan table; ids and labels keep the types they have in the corpus.

    When several neighbors are mixed, those beyond the first are in `OTHERS`.
    """
    others = zip(OTHERS, (id_type, pa.float32(), pa.string()), strict=True)
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
            *((name, pa.list_(kind)) for name, kind in others if neighbors_per_point > 1),
            ("point", pa.list_(pa.float32(), dim)),
        ]
    )


def _with_lineage(own: pa.Schema, id_type: pa.DataType, neighbors_per_point: int) -> pa.Schema:
    others = zip(KEPT_OTHERS, (pa.list_(id_type), pa.list_(pa.float32())), strict=True)
    return pa.schema(
        [
            *own.remove_metadata(),
            ("synthetic", pa.bool_()),
            ("sample_id", pa.int64()),
            ("source_id", id_type),
            ("neighbor_id", id_type),
            ("lam", pa.float32()),
            *(others if neighbors_per_point > 1 else ()),
            ("round", pa.int32()),
            ("cosine_to_point", pa.float32()),
        ]
    )
