"""The plan: shards, and the rows that say which points are to be made.

Every draw is a function of (seed, label, round, index in the class) and all arithmetic sees
one row at a time, so the plan is the same, byte for byte, however it is cut into shards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.plan.classes import ClassRows
from smotext_ray.plan.draws import Draws, draw, draw_others
from smotext_ray.plan.interpolation import Interpolation, beta_lam, dirichlet_lam, interpolate, mix
from smotext_ray.plan.neighbors import Metric, Nearest, other_texts
from smotext_ray.plan.shards import Shard
from smotext_ray.plan.strategy import singleton_sentence
from smotext_ray.plan.variants import Sources
from smotext_ray.tables import PARENTS, plan_schema


class KnownNeighbors:
    """The neighbours of a class's rows, each looked for once: many shards draw the same rows."""

    def __init__(self) -> None:
        self._near = np.empty((0, 0), np.int32)
        self._is_known = np.zeros(0, bool)

    def __call__(
        self,
        drawn: NDArray[np.int64],
        rows: int,
        search: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    ) -> NDArray[np.int64]:
        """Neighbours of some of so many rows; ``search`` finds those of the ones not known."""
        if not len(self._is_known):
            self._is_known = np.zeros(rows, bool)
        unknown = drawn[~self._is_known[drawn]]
        if len(unknown):
            found = search(unknown)
            if not self._near.size:
                self._near = np.empty((rows, found.shape[1]), np.int32)
            self._near[unknown] = found
            self._is_known[unknown] = True
        return self._near[drawn].astype(np.int64)


def plan_class(
    rows: ClassRows,
    shard: Shard,
    seed: int,
    k_neighbors: int,
    metric: Metric,
    interpolation: Interpolation,
    unit_norm: bool,
    alpha: float = 1.0,
    nearest: Nearest | None = None,
    sources: Sources | None = None,
    neighbors_per_point: int = 1,
    known: KnownNeighbors | None = None,
) -> pa.Table:
    """The plan rows of one shard.

    Parameters
    ----------
    rows : ClassRows
        All rows of the shard's class.
    shard : Shard
    seed : int
        The run's seed.
    k_neighbors : int
        Shrunk to the number of other distinct texts where the class is small.
    metric : {"cosine", "euclidean"}
    interpolation : {"lerp", "slerp"}
    unit_norm : bool
        See `interpolate`.
    alpha : float, default=1.0
        See `smotext_ray.plan.interpolation.beta_lam`.
    nearest : callable, optional
        See `smotext_ray.plan.neighbors.other_texts`.
    sources : Sources, optional
        Of the distinct texts of ``rows``, as a variant of SMOTE gives them. Without it each
        row is equally likely as a source.
    neighbors_per_point : int, default=1
        Of the k neighbours so many, all different, and no more than there are, share a point
        by the law of `smotext_ray.plan.interpolation.dirichlet_lam`.
    known : KnownNeighbors, optional
        Of the class, from earlier shards with the same settings.

    Returns
    -------
    pyarrow.Table
        One row a point, by rising sample_id: the columns of `plan_schema`, but for the texts
        ``source_row``, ``neighbor_row`` and ``other_neighbor_rows``, the parents' numbers in
        the files. Each of a source's neighbours is equally likely; ``neighbor_id`` names the
        one of the largest weight, which is ``lam``.

    Raises
    ------
    UserError
        When the class has one distinct text only, or no source.
    ValueError
        When ``rows`` are of another class, or embeddings hold NaN.
    """
    if rows.label != shard.label:
        raise ValueError(f"The rows given for class {shard.label!r} are of {rows.label!r}.")
    draws = draw(seed, shard.label, shard.round, shard.start, shard.stop)
    chosen = _chosen(rows, draws.u_source, sources)
    drawn, place = np.unique(chosen, return_inverse=True)
    cluster = sources.cluster if sources else None
    near = (known or KnownNeighbors())(
        drawn,
        len(rows.ids),
        lambda unknown: _neighbors(rows, unknown, cluster, k_neighbors, metric, nearest),
    )
    if near.shape[1] == 0:
        raise UserError(singleton_sentence([shard.label]))
    columns, lam = _weighted(shard, seed, draws, near.shape[1], neighbors_per_point, alpha)
    if sources and sources.reach is not None:
        lam = lam * sources.reach[rows.text_of_row[chosen], None]
    parents = np.take_along_axis(near[place], columns, axis=1)
    if neighbors_per_point == 1:
        ends = rows.embeddings[chosen], rows.embeddings[parents[:, 0]]
        points = interpolate(*ends, lam[:, 0], interpolation, unit_norm)
    else:
        points = mix(rows.embeddings[chosen], rows.embeddings[parents], lam, unit_norm)
    dim, count = points.shape[1], len(chosen)
    first = shard.first_sample_id
    table = {
        "sample_id": np.arange(first, first + count),
        "label": pa.repeat(pa.scalar(shard.label, rows.label_type), count),
        "source_id": rows.ids.take(pa.array(chosen)),
        "neighbor_id": rows.ids.take(pa.array(parents[:, 0])),
        "lam": np.ascontiguousarray(lam[:, 0]),
        "seed": draws.decode_seed,
        "round": np.full(count, shard.round, dtype=np.int32),
        "source_row": rows.file_rows[chosen],
        "neighbor_row": rows.file_rows[parents[:, 0]],
    }
    if neighbors_per_point > 1:
        table |= _others(rows, parents[:, 1:], lam[:, 1:])
    table["point"] = pa.FixedSizeListArray.from_arrays(pa.array(points.ravel()), dim)
    return pa.table(table)


def _chosen(rows: ClassRows, u: NDArray[np.float64], sources: Sources | None) -> NDArray[np.int64]:
    """The row of the class that each point starts from."""
    if sources is None:
        # u is a multiple of 2**-53 below 1, so the product never rounds up to the count.
        return rows.by_id[np.floor(u * len(rows.by_id)).astype(np.int64)]
    upto = np.cumsum(sources.weight[rows.text_of_row[rows.by_id]])
    if not upto[-1] > 0:
        raise UserError(f"Class {rows.label!r} has no text that a point could start from.")
    place = np.searchsorted(upto, u * upto[-1], side="right")
    # That product may round up to the whole, which the last row with a weight reaches.
    return rows.by_id[np.minimum(place, np.searchsorted(upto, upto[-1]))]


def _neighbors(
    rows: ClassRows,
    drawn: NDArray[np.int64],
    cluster: NDArray[np.int32] | None,
    k: int,
    metric: Metric,
    nearest: Nearest | None,
) -> NDArray[np.int64]:
    """The neighbours of some rows, in the class or in their cluster of it; shape (drawn, k)."""
    texts, distinct = rows.text_of_row[drawn], rows.embeddings[: rows.distinct]
    if cluster is None:
        return other_texts(rows.embeddings[drawn], texts, distinct, k, metric, nearest)
    near = np.empty((len(drawn), max(min(k, rows.distinct - 1), 0)), np.int64)
    for number in np.unique(cluster[texts]):
        here, members = cluster[texts] == number, np.flatnonzero(cluster == number)
        own = np.searchsorted(members, texts[here])
        found = other_texts(
            rows.embeddings[drawn[here]], own, distinct[members], k, metric, nearest
        )
        near[here] = members[found]
    return near


def _weighted(
    shard: Shard, seed: int, draws: Draws, k: int, mixed: int, alpha: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which of the k neighbours make a point, by falling weight, and the weights.

    Each of shape (points, min(mixed, k)).
    """
    columns = np.floor(draws.u_neighbor * k).astype(np.int64)[:, None]
    if mixed == 1:
        return columns, beta_lam(draws.lam, alpha)[:, None]
    others = min(mixed, k) - 1
    u, lam = draw_others(seed, shard.label, shard.round, shard.start, shard.stop, others)
    for i in range(others):
        # The place among those that are left; each one before it that is taken moves it on.
        column = np.floor(u[:, i] * (k - i - 1)).astype(np.int64)
        for taken in np.sort(columns, axis=1).T:
            column += column >= taken
        columns = np.column_stack([columns, column])
    lam = dirichlet_lam(np.column_stack([draws.lam, lam]), alpha)
    order = np.argsort(-lam, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(lam, order, axis=1)


def _others(
    rows: ClassRows, parents: NDArray[np.int64], lam: NDArray[np.float32]
) -> dict[str, pa.ListArray]:
    """The columns of neighbours beyond the first: a list a point, each of the same length."""
    count, each = parents.shape
    ends = pa.array(np.arange(count + 1) * each, pa.int32())
    flat = parents.ravel()
    columns = {
        "other_neighbor_ids": rows.ids.take(pa.array(flat)),
        "other_lams": pa.array(lam.ravel()),
        "other_neighbor_rows": pa.array(rows.file_rows[flat]),
    }
    return {name: pa.ListArray.from_arrays(ends, values) for name, values in columns.items()}


def plan_shard(
    rows: ClassRows,
    shard: Shard,
    config: RunConfig,
    nearest: Nearest | None = None,
    sources: Sources | None = None,
    known: KnownNeighbors | None = None,
) -> pa.Table:
    """`plan_class` with the settings of a run."""
    if sources is None and config.plan.variant != "smote":
        raise ValueError(f"plan.variant={config.plan.variant} needs sources.")
    return plan_class(
        rows,
        shard,
        config.plan.seed,
        config.neighbors.k_neighbors,
        config.neighbors.metric,
        config.plan.interpolation,
        config.encoder.normalize,
        config.plan.alpha,
        nearest,
        sources,
        config.plan.neighbors_per_point,
        known,
    )


def with_texts(table: pa.Table, read: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> pa.Table:
    """Plan rows of `plan_class` with the texts of the parents, as `plan_schema` has them.

    Parameters
    ----------
    table : pyarrow.Table
    read : callable
        Numbers in the files -> texts.
    """
    parents = [name for name in PARENTS if name in table.column_names]
    numbers = [table[name].combine_chunks() for name in parents]
    flat = [rows.flatten() if pa.types.is_list(rows.type) else rows for rows in numbers]
    texts = read(pa.chunked_array(flat)).combine_chunks()
    found, start = {}, 0
    for name, rows, part in zip(parents, numbers, flat, strict=True):
        found[name] = texts.slice(start, len(part))
        start += len(part)
        if part is not rows:
            offsets = pc.subtract(rows.offsets, rows.offsets[0])
            found[name] = pa.ListArray.from_arrays(offsets, found[name])
    schema = plan_schema(
        table["source_id"].type,
        table["label"].type,
        table["point"].type.list_size,
        len(parents) - 1,
    )
    columns = [found.get(name, table[name]) for name in table.column_names]
    # One piece each: the bytes of a plan file must not tell how the corpus was cut.
    return pa.table(columns, schema=schema).combine_chunks()
