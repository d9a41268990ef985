"""Exact nearest neighbors with FAISS, and the neighbors that SMOTE may choose.

FAISS finds candidates fast, but the last bits of its float32 distances vary with the number of
queries (BLAS above a threshold, plain loops below it), the number of threads and the device. A plan
must not vary. So FAISS only proposes: the distances of its candidates are recomputed in float64,
one pair of rows at a time, and candidates are ranked by (distance, row). A bound on FAISS's
rounding error shows whether a row that was not proposed could belong to the answer; if so, more
candidates are fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from smotext_ray.config.choices import Metric
from smotext_ray.plan.faiss_search import faiss_search, gpu_for
from smotext_ray.plan.vectors import row_sums
from smotext_ray.utils.text import distinct_part

# queries, base, k, metric -> distances, rows of the base
Nearest = Callable[
    [NDArray[np.float32], NDArray[np.float32], int, Metric],
    tuple[NDArray[Any], NDArray[np.int64]],
]

EXTRA_CANDIDATES = 4  # more would cost more than repeating the few searches that need it
BLOCK_BYTES = 1 << 20  # fits in a core's cache
PART_BYTES = 64 << 20
# On a GPU the queries are transferred once for each part of the base, which a planner copies.
GPU_PART_BYTES = 256 << 20


def nearest_neighbors(
    queries: NDArray[np.float32], base: NDArray[np.float32], k: int, metric: Metric
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``k`` rows of ``base`` nearest to each query: exact and reproducible everywhere.

    The answer for a query does not depend on the other queries in the call, the number of threads,
    or whether a GPU does the search.

    Parameters
    ----------
    queries : ndarray of float32, shape (q, d)
    base : ndarray of float32, shape (n, d)
    k : int
        From 0 to n.
    metric : {"cosine", "euclidean"}
        Cosine distance is ``1 - cos``, from 0 to 2; a zero row has distance 1 to every row.

    Returns
    -------
    distances : ndarray of float32, shape (q, k)
        Ascending along each row.
    rows : ndarray of int64, shape (q, k)
        Row numbers in ``base``; ties are ordered by row number.

    Raises
    ------
    ValueError
        If widths differ, ``k`` is out of range, the metric is unknown, or values are NaN or
        infinite.

    Examples
    --------
    >>> base = np.array([[0, 0], [3, 4], [0, 1]], dtype=np.float32)
    >>> distances, rows = nearest_neighbors(base[:1], base, 3, "euclidean")
    >>> distances.tolist(), rows.tolist()
    ([[0.0, 1.0, 5.0]], [[0, 2, 1]])
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    base = np.ascontiguousarray(base, dtype=np.float32)
    _check(queries, base, k, metric)
    scores = np.empty((len(queries), k), dtype=np.float64)
    rows = np.empty((len(queries), k), dtype=np.int64)
    if len(queries) and k:
        _search(queries, base, metric, scores, rows)
    # The order is final, so negative rounding errors can be clipped now.
    distances = np.maximum(scores, 0)
    if metric == "euclidean":
        distances = np.sqrt(distances)
    return distances.astype(np.float32), rows


def same_class_neighbors(
    queries: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    texts: Sequence[str] | NDArray[Any] | None,
    ids: Sequence[Any] | NDArray[Any],
    k: int,
    metric: Metric,
) -> NDArray[np.int64]:
    """The neighbors SMOTE may choose for some rows of a class.

    Texts that are equal when stripped count as one, represented by the row with the smallest id,
    and no text is its own neighbor.

    Parameters
    ----------
    queries : ndarray of int64, shape (q,)
        Rows of the class, in any order, repeats allowed.
    embeddings : ndarray of float32, shape (n, d)
        The whole class.
    texts : sequence of str, length n, or None
        None for runs with epsilon: each row counts as a distinct text.
    ids : sequence, length n
        Unique and sortable. Ties between equally distant neighbors are resolved by id, not by row
        order.
    k : int
        Number of neighbors, at least 1.
    metric : {"cosine", "euclidean"}

    Returns
    -------
    ndarray of int64, shape (q, k_eff)
        Rows of the class, nearest first; ``k_eff = min(k, distinct texts - 1)``, which is 0 for a
        singleton class.
    """
    queries = np.asarray(queries, dtype=np.int64)
    representatives, text_of_row = _distinct_texts(texts if texts is not None else ids, ids)
    distinct = embeddings[representatives]
    return representatives[
        other_texts(embeddings[queries], text_of_row[queries], distinct, k, metric)
    ]


def other_texts(
    queries: NDArray[np.float32],
    own_text: NDArray[np.int64],
    distinct: NDArray[np.float32],
    k: int,
    metric: Metric,
    nearest: Nearest | None = None,
) -> NDArray[np.int64]:
    """The texts nearest to each query, excluding its own.

    Parameters
    ----------
    queries : ndarray of float32, shape (q, d)
    own_text : ndarray of int64, shape (q,)
        The row of ``distinct`` with the query's text.
    distinct : ndarray of float32, shape (t, d)
        One row per text of the class.
    k : int
        At least 1.
    metric : {"cosine", "euclidean"}
    nearest : callable, optional
        Replaces the search by `nearest_neighbors`.

    Returns
    -------
    ndarray of int64, shape (q, k_eff)
        Rows of ``distinct``, nearest first; ``k_eff = min(k, t - 1)``.
    """
    k_eff = min(k, len(distinct) - 1)
    if k_eff <= 0 or not len(queries):
        return np.empty((len(queries), max(k_eff, 0)), dtype=np.int64)
    _, found = (nearest or nearest_neighbors)(queries, distinct, k_eff + 1, metric)
    # A text can be ranked after others with the same embedding (texts that differ only in case or
    # beyond the encoder's maximum length), even after all of them. So it is found by identity, not
    # by rank, and if it is missing the farthest row is dropped.
    own = found == own_text[:, None]
    own[~own.any(axis=1), -1] = True
    return np.asarray(found[~own].reshape(len(queries), k_eff))


def _check(queries: NDArray[Any], base: NDArray[Any], k: int, metric: str) -> None:
    if metric not in get_args(Metric):
        raise ValueError(f"metric must be 'cosine' or 'euclidean', not {metric!r}.")
    if queries.ndim != 2 or base.ndim != 2 or queries.shape[1] != base.shape[1]:
        raise ValueError(f"queries {queries.shape} and base {base.shape} differ in width.")
    if not 0 <= k <= len(base):
        raise ValueError(f"k must be between 0 and the {len(base)} rows searched, not {k}.")
    for name, array in (("queries", queries), ("base", base)):
        if not all(np.isfinite(part).all() for part in _parts(array)):
            raise ValueError(f"The embeddings ({name}) hold NaN or infinity.")


def _search(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    metric: Metric,
    scores: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> None:
    """Fill ``scores`` and ``rows``; a score is 1 - cos, or the squared Euclidean distance."""
    k, width = scores.shape[1], base.shape[1]
    query_lengths, base_lengths = _lengths(queries), _lengths(base)
    fast_queries = queries
    # At most `width` rounding errors of 2**-24 in each float32 sum; the bound is twice that.
    slack = np.full(len(queries), (width + 16) * 2.0**-23)
    if metric == "cosine":
        fast_queries = queries / _or_one(query_lengths).astype(np.float32)[:, None]
    else:
        # FAISS may compute |q|^2 + |b|^2 - 2qb, whose error scales with the lengths.
        slack *= (query_lengths + base_lengths.max()) ** 2
    open_queries = np.arange(len(queries))
    candidates = min(k + EXTRA_CANDIDATES, len(base))
    while len(open_queries):
        fast, proposed = _propose(
            fast_queries[open_queries], base, base_lengths, candidates, metric
        )
        exact = _exact_scores(
            queries[open_queries],
            query_lengths[open_queries],
            base,
            base_lengths,
            proposed,
            metric,
        )
        order = np.lexsort((proposed, exact))[:, :k]
        scores[open_queries] = np.take_along_axis(exact, order, axis=1)
        rows[open_queries] = np.take_along_axis(proposed, order, axis=1)
        # Every row that was not proposed is at least this far away.
        beyond = fast.max(axis=1) - slack[open_queries]
        settled = (scores[open_queries, -1] < beyond) | (candidates == len(base))
        open_queries = open_queries[~settled]
        candidates = min(4 * candidates, len(base))


def _propose(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    base_lengths: NDArray[np.float64],
    k: int,
    metric: Metric,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """FAISS's ``k`` nearest, unordered; the base is read in parts, as it may be on disk."""
    scores, rows = np.empty((len(queries), 0)), np.empty((len(queries), 0), np.int64)
    start = 0
    for part in _parts(base, PART_BYTES if gpu_for(k) is None else GPU_PART_BYTES):
        if metric == "cosine":
            lengths = base_lengths[start : start + len(part)]
            part = part / _or_one(lengths).astype(np.float32)[:, None]
        fast, near = faiss_search(queries, part, min(k, len(part)), metric)
        scores, rows = np.hstack([scores, fast]), np.hstack([rows, near + start])
        if scores.shape[1] > k:
            kept = np.argpartition(scores, k - 1, axis=1)[:, :k]
            scores = np.take_along_axis(scores, kept, axis=1)
            rows = np.take_along_axis(rows, kept, axis=1)
        start += len(part)
    return scores, rows


def _exact_scores(
    queries: NDArray[np.float32],
    query_lengths: NDArray[np.float64],
    base: NDArray[np.float32],
    base_lengths: NDArray[np.float64],
    proposed: NDArray[np.int64],
    metric: Metric,
) -> NDArray[np.float64]:
    scores = np.empty(proposed.shape, dtype=np.float64)
    # One block is [queries, candidates, width]; very long candidate lists are split too.
    wide = max(1, BLOCK_BYTES // (8 * base.shape[1]))
    across = min(wide, proposed.shape[1])
    down = max(1, wide // across)
    for top in range(0, len(queries), down):
        for left in range(0, proposed.shape[1], across):
            here = np.s_[top : top + down, left : left + across]
            chosen = proposed[here]
            rows, query = base[chosen], queries[top : top + down, None, :]
            if metric == "euclidean":
                scores[here] = row_sums(np.square(np.subtract(rows, query, dtype=np.float64)))
                continue
            lengths = query_lengths[top : top + down, None] * base_lengths[chosen]
            products = np.multiply(rows, query, dtype=np.float64)
            scores[here] = 1 - row_sums(products) / _or_one(lengths)
    return scores


def _lengths(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean length of each row."""
    squares = [row_sums(np.square(part, dtype=np.float64)) for part in _parts(rows)]
    return np.sqrt(np.concatenate(squares)) if squares else np.empty(0)


def _parts(
    rows: NDArray[np.float32], most_bytes: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Take rows in steps: copying a large class at once would exceed memory."""
    step = max(1, (most_bytes or PART_BYTES) // (4 * rows.shape[1]))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _or_one(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(lengths == 0, 1.0, lengths)


def _distinct_texts(
    texts: Sequence[str] | NDArray[Any], ids: Sequence[Any] | NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Representative rows of texts, sorted by id; and for each row the index of its text."""
    representatives: list[int] = []
    place: dict[str, int] = {}
    text_of_row = np.empty(len(texts), dtype=np.int64)
    for row in np.argsort(np.asarray(ids), kind="stable").tolist():
        text = distinct_part(str(texts[row]))
        if text not in place:
            place[text] = len(representatives)
            representatives.append(row)
        text_of_row[row] = place[text]
    return np.asarray(representatives, dtype=np.int64), text_of_row
