"""Convert several labels per text from and to the user's form: indicator matrices, lists, sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from smotext_ray.utils.text import is_blank

Back = Callable[[Sequence[Sequence[Any]]], Any]
_SETS = (set, frozenset, list, tuple, np.ndarray)


def has_label_sets(y: Any) -> bool:
    """Whether texts have several labels: a matrix that is not one-hot, or lists of lists or sets.

    Nested lists of equal length that hold only 0 and 1 are a matrix, as for scikit-learn.
    """
    matrix = _matrix(y)
    if matrix is not None:
        return matrix.shape[1] > 1 and not _is_one_hot(matrix)
    if isinstance(y, pd.Series) and y.dtype != object:
        return False
    if isinstance(y, np.ndarray) and y.ndim == 2:
        return False  # a column
    return isinstance(y, (list, tuple, pd.Series, np.ndarray)) and any(
        isinstance(labels, _SETS) for labels in y
    )


def read_one_hot(y: Any) -> tuple[list[Any], Back] | None:
    """The label of each text of a one-hot matrix, and a function like that of `read_label_sets`.

    Returns
    -------
    (labels, back) or None
        None if ``y`` is not such a matrix.
    """
    matrix = _matrix(y)
    if matrix is None or matrix.shape[1] < 2 or not _is_one_hot(matrix):
        return None
    sets, back = _of_matrix(y, matrix)
    return [label for labels in sets for label in labels], back


def read_label_sets(y: Any) -> tuple[list[list[Any]], Back]:
    """The labels of each text, and a function that adds those of new texts in the same form.

    Parameters
    ----------
    y : ndarray, sparse matrix or DataFrame of 0 and 1, shape (n, labels), or list, tuple or Series
        of sets, lists or tuples
        Each column is a label: its name in a DataFrame, otherwise its number.

    Returns
    -------
    sets : list of list
        Labels are strings or integers, without duplicates.
    back : callable
        Maps the labels of new texts to all labels, in the type of ``y``.

    Raises
    ------
    ValueError
        If a matrix holds anything but 0 and 1, or a label is neither a string nor an integer, or no
        text has a label.
    """
    matrix = _matrix(y)
    if matrix is not None:
        return _of_matrix(y, matrix)
    sets = [_checked(labels, row) for row, labels in enumerate(y)]
    kinds = {type(label) for labels in sets for label in labels}
    if not kinds:
        raise ValueError("No text has a label in y; give at least two labels.")
    if len(kinds) > 1:
        raise ValueError("Some labels in y are strings and some are integers; use one of them.")
    return sets, lambda new: _more_sets(y, new)


def _matrix(y: Any) -> Any:
    """The values of a matrix: an array, or the rows of a sparse one; None if it is not a matrix."""
    if hasattr(y, "tocsr"):
        rows = y.tocsr(copy=True)
        rows.sum_duplicates()  # sorts the columns of each row, too
        return rows
    if isinstance(y, pd.DataFrame):
        values = y.to_numpy()
    elif isinstance(y, np.ndarray):
        values = y
    elif isinstance(y, (list, tuple)) and len({_length(each) for each in y}) == 1:
        values = np.asarray(y) if _length(y[0]) > 1 else np.empty(0)
        if values.dtype.kind not in "biu" or values.ndim != 2 or not np.isin(values, (0, 1)).all():
            return None
    else:
        return None
    return values if values.ndim == 2 and values.shape[1] > 1 else None


def _length(labels: Any) -> int:
    """The length of a row of a matrix; 0 for what cannot be one."""
    return len(labels) if isinstance(labels, (list, tuple)) else 0


def _is_binary(matrix: Any) -> bool:
    values = matrix.data if hasattr(matrix, "tocsr") else matrix
    return bool(not pd.isna(values).any() and np.isin(values, (0, 1)).all())


def _is_one_hot(matrix: Any) -> bool:
    return _is_binary(matrix) and bool((np.asarray(matrix.sum(axis=1)) == 1).all())


def _of_matrix(y: Any, matrix: Any) -> tuple[list[list[Any]], Back]:
    if not _is_binary(matrix):
        raise ValueError("y is a matrix with values other than 0 and 1; give one column per label.")
    names = list(y.columns) if isinstance(y, pd.DataFrame) else list(range(matrix.shape[1]))
    if len({type(name) for name in names}) > 1 or not isinstance(names[0], (str, int)):
        raise ValueError("The columns of y must be named by strings or by integers.")
    if len(set(names)) < len(names):
        raise ValueError("Columns of y have the same name; give each label a name of its own.")
    cells = (matrix == 1).nonzero()
    if not len(cells[0]):
        raise ValueError("No text has a label in y; give at least two labels.")
    sets: list[list[Any]] = [[] for _ in range(matrix.shape[0])]
    for row, column in zip(*cells, strict=True):
        sets[row].append(names[column])
    place = {name: number for number, name in enumerate(names)}

    def back(new: Sequence[Sequence[Any]]) -> Any:
        rows = np.repeat(np.arange(len(new)), [len(labels) for labels in new])
        columns = [place[label] for labels in new for label in labels]
        shape = len(new), len(names)
        if hasattr(y, "tocsr"):
            return _more_sparse_rows(y, rows, columns, shape)
        more = np.zeros(shape, np.int64)
        more[rows, columns] = 1
        return _more_rows(y, more)

    return sets, back


def _more_sparse_rows(y: Any, rows: np.ndarray, columns: list[int], shape: tuple[int, int]) -> Any:
    import scipy.sparse

    is_array = isinstance(y, scipy.sparse.sparray)
    kind = scipy.sparse.csr_array if is_array else scipy.sparse.csr_matrix
    below = kind((np.ones(len(rows), y.dtype), (rows, columns)), shape=shape)
    return scipy.sparse.vstack([y, below], format=y.format)


def _more_rows(y: Any, more: np.ndarray) -> Any:
    if isinstance(y, pd.DataFrame):
        frame = pd.DataFrame(more, columns=y.columns).astype(y.dtypes.to_dict())
        return pd.concat([y, frame], ignore_index=True)
    if isinstance(y, np.ndarray):
        return np.concatenate([y, more.astype(y.dtype)])
    each = type(y[0])
    return type(y)([*y, *(each(row) for row in more.tolist())])


def _checked(labels: Any, row: int) -> list[Any]:
    if not isinstance(labels, _SETS):
        raise ValueError(f"Row {row} of y is no list or set of labels; give an empty one for none.")
    found: dict[Any, None] = {}
    for label in labels:
        plain = label.item() if isinstance(label, np.generic) else label
        if isinstance(plain, bool) or not isinstance(plain, (str, int)):
            kind = type(plain).__name__
            raise ValueError(f"Row {row} of y has a label of type {kind}; use strings or integers.")
        if isinstance(plain, str) and is_blank(plain):
            raise ValueError(f"Row {row} of y has an empty label; leave it out.")
        found[plain] = None
    ordered = isinstance(labels, (list, tuple, np.ndarray))
    return list(found) if ordered else sorted(found, key=str)


def _more_sets(y: Any, new: Sequence[Sequence[Any]]) -> Any:
    like = next(labels for labels in y)
    kind: Any = np.array if isinstance(like, np.ndarray) else type(like)
    more = [kind(list(labels)) for labels in new]
    if isinstance(y, pd.Series):
        return pd.concat([y, pd.Series(more, dtype=object, name=y.name)], ignore_index=True)
    if isinstance(y, np.ndarray):
        every = np.empty(len(y) + len(more), object)
        every[:] = [*y, *more]
        return every
    return type(y)([*y, *more])
