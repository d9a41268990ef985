"""Embedding columns: a matrix as an Arrow column, and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


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
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)  # one large copy less
    return values.astype(np.float32, copy=False).reshape(len(column), -1)
