"""Read and extend containers of texts: lists, Series, DataFrames, arrays and datasets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Extend = Callable[[Sequence[str]], Any]


def read_texts(given: Any, text_column: str) -> tuple[list[Any], Extend]:
    """The texts of a container, and a function to extend it.

    Parameters
    ----------
    given : list, tuple, pandas.Series, pandas.DataFrame, numpy.ndarray or datasets.Dataset
        An array has shape (n,) or (n, 1).
    text_column : str
        Column of the texts in a DataFrame or dataset.

    Returns
    -------
    texts : list
        Unchecked: the caller must validate that they are strings.
    extend : callable
        Takes new texts and returns the same type of container with them appended. Other columns are
        missing in the new rows.

    Raises
    ------
    TypeError, ValueError
    """
    if _is(given, "pandas", "DataFrame"):
        _check_column(text_column, list(given.columns), "the DataFrame")
        return given[text_column].tolist(), lambda new: _more_frame(given, new, text_column)
    if _is(given, "pandas", "Series"):
        return given.tolist(), lambda new: _more_series(given, new)
    if _is(given, "datasets", "Dataset"):
        _check_column(text_column, given.column_names, "the dataset")
        return list(given[text_column]), lambda new: more_dataset(given, {text_column: new})
    if _is(given, "datasets", "DatasetDict"):
        raise TypeError(
            "A DatasetDict has several datasets; pass one of its splits, or use "
            "smotext_ray.augment_split."
        )
    if isinstance(given, np.ndarray):
        if given.ndim != 1 and given.shape[1:] != (1,):
            raise ValueError(
                f"An array of texts must have shape (n,) or (n, 1), not {given.shape}."
            )
        return given.ravel().tolist(), lambda new: _more_array(given, new)
    if isinstance(given, (list, tuple)):
        return list(given), lambda new: type(given)([*given, *new])
    raise TypeError(
        "Texts must be a list, a pandas Series or DataFrame, a numpy array or a "
        f"datasets.Dataset, not {type(given).__name__}."
    )


def more_dataset(dataset: Any, new: Mapping[str, Sequence[Any]]) -> Any:
    """Append rows to a `datasets.Dataset`.

    Parameters
    ----------
    dataset : datasets.Dataset
    new : mapping of str to sequence
        Columns of the new rows, all of the same length; other columns are missing there.

    Returns
    -------
    datasets.Dataset
        With the same features, original rows first.
    """
    from datasets import Dataset, concatenate_datasets

    (rows,) = {len(values) for values in new.values()}
    columns = {name: [None] * rows for name in dataset.column_names}
    columns |= {name: list(values) for name, values in new.items()}
    return concatenate_datasets([dataset, Dataset.from_dict(columns, features=dataset.features)])


def _is(given: Any, module: str, name: str) -> bool:
    """Check for a class without importing its library."""
    there = sys.modules.get(module)
    return there is not None and isinstance(given, getattr(there, name))


def _check_column(name: str, there: list[str], what: str) -> None:
    if name not in there:
        raise ValueError(
            f"text_column is {name!r}, but {what} has the columns {', '.join(map(str, there))}."
        )


def _more_frame(frame: Any, new: Sequence[str], text_column: str) -> Any:
    import pandas as pd

    more = pd.DataFrame({text_column: pd.Series(new, dtype=frame[text_column].dtype)})
    return pd.concat([frame, more], ignore_index=True) if len(new) else frame.copy()


def _more_series(series: Any, new: Sequence[str]) -> Any:
    import pandas as pd

    more = pd.Series(new, dtype=series.dtype, name=series.name)
    return pd.concat([series, more], ignore_index=True) if len(new) else series.copy()


def _more_array(array: np.ndarray, new: Sequence[str]) -> np.ndarray:
    kind = object if array.dtype == object else array.dtype.kind  # "U" widens to the longest text
    more = np.array(new, dtype=kind).reshape(-1, *array.shape[1:])
    return np.concatenate([array, more])
