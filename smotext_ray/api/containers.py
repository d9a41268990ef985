"""Read and extend containers of texts: lists, Series, DataFrames, arrays and datasets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# pandas' nullable dtypes by numpy's kind; the placeholder is the number of bits.
NULLABLE = {"i": "Int{}", "u": "UInt{}", "b": "boolean"}
Extend = Callable[[Sequence[str]], Any]


def read_texts(given: Any, text_column: Any) -> tuple[list[Any], Extend]:
    """The texts of a container, and a function to extend it.

    Parameters
    ----------
    given : list, tuple, pandas.Series, pandas.DataFrame, numpy.ndarray or datasets.Dataset
        An array has shape (n,) or (n, 1). Any other sequence is returned as a list.
    text_column : object
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
        place = list(given.columns).index(text_column)
        return given.iloc[:, place].tolist(), lambda new: _more_frame(given, new, place)
    if _is(given, "pandas", "Series"):
        return given.tolist(), lambda new: _more_series(given, new)
    if _is(given, "datasets", "Dataset"):
        _check_column(text_column, given.column_names, "the dataset")
        texts = list(given.with_format(None)[text_column])
        return texts, lambda new: more_dataset(given, {text_column: new})
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
    if isinstance(given, Sequence) and not isinstance(given, (str, bytes)):
        return list(given), lambda new: [*given, *new]
    raise TypeError(
        "Texts must be a list, a pandas Series or DataFrame, a numpy array or a "
        f"datasets.Dataset, not {type(given).__name__}."
    )


def number_of_columns(given: Any) -> int:
    """What scikit-learn calls the number of features; 1 for a container without columns."""
    columns = getattr(given, "shape", (0,))[1:]
    return columns[0] if columns else 1


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
        With the same features and format, original rows first.
    """
    from datasets import Dataset, concatenate_datasets

    (rows,) = {len(values) for values in new.values()}
    columns = {name: [None] * rows for name in dataset.column_names}
    columns |= {name: list(values) for name, values in new.items()}
    more = Dataset.from_dict(columns, features=dataset.features)
    made = concatenate_datasets([dataset.with_format(None), more])
    shown = dataset.format
    made.set_format(
        shown["type"], shown["columns"], shown["output_all_columns"], **shown["format_kwargs"]
    )
    return made


def _is(given: Any, module: str, name: str) -> bool:
    """Check for a class without importing its library."""
    there = sys.modules.get(module)
    return there is not None and isinstance(given, getattr(there, name))


def _check_column(name: Any, there: list[Any], what: str) -> None:
    if there.count(name) != 1:
        problem = "that name twice" if name in there else "the columns"
        listed = "" if name in there else f" {', '.join(map(str, there))}"
        raise ValueError(f"text_column is {name!r}, but {what} has {problem}{listed}.")


def _more_frame(frame: Any, new: Sequence[str], place: int) -> Any:
    import pandas as pd

    if not len(new):
        return frame.copy()
    columns = [
        _more_series(frame.iloc[:, i], new) if i == place else _longer(frame.iloc[:, i], len(new))
        for i in range(frame.shape[1])
    ]
    more = pd.concat(columns, axis=1)
    more.columns = frame.columns
    more.attrs = dict(frame.attrs)
    return more


def _longer(column: Any, rows: int) -> Any:
    """Append missing values to a column, in a dtype that can hold them without rounding."""
    import pandas as pd

    if isinstance(column.dtype, pd.SparseDtype) and column.dtype.subtype.kind in NULLABLE:
        column = column.sparse.to_dense()
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind in NULLABLE:
        column = column.astype(NULLABLE[kind.kind].format(8 * kind.itemsize))
    return column.reset_index(drop=True).reindex(range(len(column) + rows))


def _more_series(series: Any, new: Sequence[str]) -> Any:
    import pandas as pd

    if not len(new):
        return series.copy()
    kind = series.dtype
    if isinstance(kind, pd.CategoricalDtype):
        added = [text for text in dict.fromkeys(new) if text not in kind.categories]
        kind = pd.CategoricalDtype(kind.categories.append(pd.Index(added)), kind.ordered)
    more = pd.Series(new, dtype=kind, name=series.name)
    return pd.concat([series.astype(kind), more], ignore_index=True)


def _more_array(array: np.ndarray, new: Sequence[str]) -> np.ndarray:
    # "U" widens to the longest text; objects and variable-width strings keep their dtype.
    kind = array.dtype.kind if array.dtype.kind == "U" else array.dtype
    more = np.array(new, dtype=kind).reshape(-1, *array.shape[1:])
    return np.concatenate([array, more])
