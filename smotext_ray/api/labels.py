"""Convert labels from and to the user's form, without rounding anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smotext_ray.utils.text import is_blank


def read_labels(y: Any) -> Any:
    """Labels that scikit-learn can check.

    Parameters
    ----------
    y : array-like

    Returns
    -------
    array-like
        A numpy array for pandas' nullable and categorical dtypes; anything else unchanged.

    Raises
    ------
    ValueError
        If a label is missing or empty.
    """
    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        return read_labels(y.iloc[:, 0])
    if isinstance(y, np.ndarray) and y.ndim == 2 and y.shape[1] == 1:
        return read_labels(y[:, 0])
    values = y
    if isinstance(y, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        values = _of_pandas(y)
    if np.ndim(values) == 1:
        missing = np.flatnonzero(pd.isna(np.asarray(values, object)))
        if missing.size:
            raise ValueError(f"Row {missing[0]} of y has no label; fill it or drop the row.")
        for row, label in enumerate(values):
            if isinstance(label, str) and is_blank(label):
                raise ValueError(f"Row {row} of y has an empty label; fill it or drop the row.")
    return values


def as_list(y: Any) -> Any:
    """Labels of any other sequence, such as a column of a dataset, as a list."""
    is_other = isinstance(y, Sequence) and not isinstance(y, (list, tuple, str))
    return list(y) if is_other else y


def like(given: Any, y: NDArray[Any]) -> Any:
    """Labels in the type that the user passed."""
    if isinstance(given, pd.Series):
        return pd.Series(y, name=given.name).astype(given.dtype)
    if isinstance(given, pd.DataFrame):
        return pd.DataFrame(y, columns=given.columns).astype(given.dtypes.to_dict())
    if isinstance(given, pd.Index):
        return pd.Index(y, name=given.name).astype(given.dtype)
    if isinstance(given, pd.api.extensions.ExtensionArray):
        return pd.array(y, dtype=given.dtype)
    if isinstance(given, (list, tuple)):
        return type(given)(y.tolist())
    return y


def plain_label(label: Any) -> Any:
    """A label as a plain Python object."""
    return label.item() if isinstance(label, np.generic) else label


def _of_pandas(y: Any) -> Any:
    kind = y.dtype
    if isinstance(kind, np.dtype) or pd.isna(y).any():
        return y
    if isinstance(kind, pd.CategoricalDtype):
        return np.asarray(y)
    for is_kind, numpy_kind in (
        (pd.api.types.is_bool_dtype, np.bool_),
        (pd.api.types.is_unsigned_integer_dtype, np.uint64),
        (pd.api.types.is_integer_dtype, np.int64),
    ):
        if is_kind(kind):
            return np.asarray(y.to_numpy(dtype=numpy_kind))
    return np.asarray(y, object) if pd.api.types.is_string_dtype(kind) else y
