"""Choose the rows for the gate's reference, in classes that get no points.

A class mean and the pooled covariance change little beyond a few hundred rows per class, so only
the rows of a large class with the smallest hashes of their ids are used. A hash depends only on
the id, so the choice is the same with any number of workers, and when a corpus grows it changes
only as far as new rows displace others.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

EVERY = np.iinfo(np.uint64).max
HELD_ROWS = 1 << 20  # rows in memory between two reductions


def last_hashes(
    rows: Iterable[tuple[NDArray[np.int64], NDArray[np.uint64]]],
    is_whole: NDArray[np.bool_],
    most: int,
) -> NDArray[np.uint64]:
    """The largest hash of a chosen row of each class, in one pass over the corpus.

    Needs memory for ``most`` rows of each class that is not whole, and for a million other rows.

    Parameters
    ----------
    rows : iterable of (ndarray of int64, ndarray of uint64)
        Class indices and hashes of ids: each item for a part of the rows, in any order.
    is_whole : ndarray of bool, shape (classes,)
        Classes of which all rows are chosen.
    most : int
        Number of rows to choose of each other class, if it has more.

    Returns
    -------
    ndarray of uint64, shape (classes,)
        `EVERY` for a class that is whole, or has no more than ``most`` rows.

    Examples
    --------
    >>> parts = [(np.array([0, 1, 0, 0]), np.array([30, 5, 10, 20], np.uint64))]
    >>> last_hashes(parts, np.array([False, True]), most=2)[0]
    np.uint64(20)
    """
    last = np.full(len(is_whole), EVERY, np.uint64)
    held = [(np.empty(0, np.int64), np.empty(0, np.uint64))]
    number = 0
    for codes, hashes in rows:
        wanted = ~is_whole[codes] & (hashes <= last[codes])
        held.append((codes[wanted], hashes[wanted]))
        number += int(wanted.sum())
        if number > HELD_ROWS:
            held, number = [_smallest(held, last, most)], 0
    _smallest(held, last, most)
    return last


def _smallest(
    held: list[tuple[NDArray[np.int64], NDArray[np.uint64]]], last: NDArray[np.uint64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The ``most`` smallest hashes of each class; lowers ``last`` if a class has that many."""
    codes, hashes = (np.concatenate(column) for column in zip(*held, strict=True))
    order = np.lexsort((hashes, codes))
    codes, hashes = codes[order], hashes[order]
    starts = np.searchsorted(codes, np.arange(len(last)))
    sizes = np.diff(starts, append=len(codes))
    full = np.flatnonzero(sizes > most)
    last[full] = hashes[starts[full] + most - 1]
    kept = np.arange(len(codes)) - starts[codes] < most
    return codes[kept], hashes[kept]
