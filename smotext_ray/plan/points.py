"""Plan rows: the target points of a shard.

Every draw is a function of (seed, label, round, index in the class), and all arithmetic is row by
row, so the plan is the same, byte for byte, however it is split into shards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from smotext_ray.config.choices import LabelSets, Metric
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.plan.classes import ClassRows
from smotext_ray.plan.draws import Draws, draw, draw_others
from smotext_ray.plan.interpolation import beta_lam, dirichlet_lam, interpolate, mix
from smotext_ray.plan.multilabel import label_sets
from smotext_ray.plan.neighbors import Nearest, other_texts
from smotext_ray.plan.shards import Shard
from smotext_ray.plan.strategy import singleton_sentence
from smotext_ray.plan.variants import Sources
from smotext_ray.tables import PARENTS, plan_schema


class NeighborCache:
    """Cache of neighbors of a class's rows, because many shards draw the same rows."""

    def __init__(self) -> None:
        self._near = np.empty((0, 0), np.int32)
        self._is_known = np.zeros(0, bool)

    def __call__(
        self,
        drawn: NDArray[np.int64],
        rows: int,
        search: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    ) -> NDArray[np.int64]:
        """Neighbors of some rows; ``search`` is called for those not in the cache."""
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


@dataclass(frozen=True)
class PlanSettings:
    """The settings that determine where the points of a run lie.

    Attributes
    ----------
    seed : int
        The run's seed.
    k_neighbors : int
        Reduced to the number of other distinct texts if the class is small.
    metric : {"cosine", "euclidean"}
    unit_norm : bool
        See `interpolate`.
    alpha : float, default=1.0
        See `smotext_ray.plan.interpolation.beta_lam`.
    neighbors_per_point : int, default=1
        Number of distinct neighbors, at most all k, that are mixed into a point, with weights
        from `smotext_ray.plan.interpolation.dirichlet_lam`.
    label_sets : {"ranking", "union", "intersection"}, default="ranking"
        See `smotext_ray.plan.multilabel.label_sets`.
    """

    seed: int
    k_neighbors: int
    metric: Metric
    unit_norm: bool
    alpha: float = 1.0
    neighbors_per_point: int = 1
    label_sets: LabelSets = "ranking"

    @classmethod
    def of(cls, config: RunConfig) -> PlanSettings:
        """The settings of a run."""
        return cls(
            seed=config.plan.seed,
            k_neighbors=config.neighbors.k_neighbors,
            metric=config.neighbors.metric,
            unit_norm=config.encoder.normalize,
            alpha=config.plan.alpha,
            neighbors_per_point=config.plan.neighbors_per_point,
            label_sets=config.plan.label_sets,
        )


def plan_class(
    rows: ClassRows,
    shard: Shard,
    settings: PlanSettings,
    nearest: Nearest | None = None,
    sources: Sources | None = None,
    known: NeighborCache | None = None,
) -> pa.Table:
    """Plan the rows of one shard.

    Parameters
    ----------
    rows : ClassRows
        All rows of the shard's class.
    shard : Shard
    settings : PlanSettings
    nearest : callable, optional
        See `smotext_ray.plan.neighbors.other_texts`.
    sources : Sources, optional
        Weights of the distinct texts of ``rows``, from a SMOTE variant. Without it each row is
        equally likely as a source.
    known : NeighborCache, optional
        Neighbors in the class, from earlier shards with the same settings.

    Returns
    -------
    pyarrow.Table
        One row per point, sorted by sample_id: the columns of `plan_schema`, with ``source_row``,
        ``neighbor_row`` and ``other_neighbor_rows``, the parents' row numbers in the files, instead
        of the texts. Each of a source's neighbors is equally likely; ``neighbor_id`` is the one
        with the largest weight, which is ``lam``. If rows have several labels, ``labels`` has
        those of the point.

    Raises
    ------
    UserError
        If the class has only one distinct text, or no source.
    ValueError
        If ``rows`` belong to another class, or embeddings contain NaN.
    """
    if rows.label != shard.label:
        raise ValueError(f"The rows given for class {shard.label!r} belong to {rows.label!r}.")
    draws = draw(settings.seed, shard.label, shard.round, shard.start, shard.stop)
    chosen = _chosen(rows, draws.u_source, sources)
    drawn, place = np.unique(chosen, return_inverse=True)
    cluster = sources.cluster if sources else None
    near = (known or NeighborCache())(
        drawn,
        len(rows.ids),
        lambda unknown: _neighbors(rows, unknown, cluster, settings, nearest),
    )
    if near.shape[1] == 0:
        raise UserError(singleton_sentence([shard.label]))
    columns, lam = _weighted(shard, settings, draws, near.shape[1])
    if sources and sources.step_scale is not None:
        lam = lam * sources.step_scale[rows.text_of_row[chosen], None]
    parents = np.take_along_axis(near[place], columns, axis=1)
    if settings.neighbors_per_point == 1:
        ends = rows.embeddings[chosen], rows.embeddings[parents[:, 0]]
        points = interpolate(*ends, lam[:, 0], settings.unit_norm)
    else:
        points = mix(rows.embeddings[chosen], rows.embeddings[parents], lam, settings.unit_norm)
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
    if settings.neighbors_per_point > 1:
        table |= _others(rows, parents[:, 1:], lam[:, 1:])
    if rows.label_sets is not None:
        table["labels"] = label_sets(rows.label_sets, chosen, near[place], settings.label_sets)
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
    # This product may round up to the total, which maps to the last row with a weight.
    return rows.by_id[np.minimum(place, np.searchsorted(upto, upto[-1]))]


def _neighbors(
    rows: ClassRows,
    drawn: NDArray[np.int64],
    cluster: NDArray[np.int32] | None,
    settings: PlanSettings,
    nearest: Nearest | None,
) -> NDArray[np.int64]:
    """Neighbors of some rows, within the class or their cluster; shape (drawn, k)."""
    k, metric = settings.k_neighbors, settings.metric
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
    shard: Shard, settings: PlanSettings, draws: Draws, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which of the k neighbors are mixed into a point, by descending weight, and the weights.

    Both have shape (points, min(mixed, k)).
    """
    mixed, alpha = settings.neighbors_per_point, settings.alpha
    columns = np.floor(draws.u_neighbor * k).astype(np.int64)[:, None]
    if mixed == 1:
        return columns, beta_lam(draws.lam, alpha)[:, None]
    others = min(mixed, k) - 1
    u, lam = draw_others(settings.seed, shard.label, shard.round, shard.start, shard.stop, others)
    for i in range(others):
        # Index among the remaining neighbors; each one taken before it shifts it by one.
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
    """The columns of neighbors beyond the first: one list per point, all of the same length."""
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
    known: NeighborCache | None = None,
) -> pa.Table:
    """`plan_class` with the settings of a run."""
    if sources is None and config.plan.variant != "smote":
        raise ValueError(f"plan.variant={config.plan.variant} needs sources.")
    return plan_class(rows, shard, PlanSettings.of(config), nearest, sources, known)


def with_texts(table: pa.Table, read: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> pa.Table:
    """Add the parents' texts to plan rows from `plan_class`, in the form of `plan_schema`.

    Parameters
    ----------
    table : pyarrow.Table
    read : callable
        Maps row numbers in the files to texts.
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
        has_sets="labels" in table.column_names,
    )
    columns = [found.get(name, table[name]) for name in table.column_names]
    # One chunk each: the bytes of a plan file must not depend on how the corpus was split.
    return pa.table(columns, schema=schema).combine_chunks()
