"""The plan: random draws, shards, and the rows that say which points are to be made.

Every draw is a function of (seed, label, round, index in the class) and all arithmetic sees
one row at a time, so the plan is the same, byte for byte, however it is cut into shards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from smotext_ray.class_rows import ClassRows
from smotext_ray.config import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.interpolation import Interpolation, beta_lam, interpolate
from smotext_ray.neighbors import Metric, Nearest, other_texts
from smotext_ray.strategy import check_class_sizes, lonely_sentence, targets

__all__ = [
    "Draws",
    "Shard",
    "check_class_sizes",
    "draw",
    "interpolate",
    "plan_class",
    "plan_schema",
    "plan_shard",
    "shards",
    "targets",
]


@dataclass(frozen=True)
class Draws:
    """Random numbers for some indices of a class, one of each per index.

    Attributes
    ----------
    u_source, u_neighbor : ndarray of float64, in [0, 1)
    lam : ndarray of float32, in [0, 1)
    decode_seed : ndarray of int64, in [0, 2**31)
    """

    u_source: NDArray[np.float64]
    u_neighbor: NDArray[np.float64]
    lam: NDArray[np.float32]
    decode_seed: NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    """Points ``start`` to ``stop - 1`` of a class; the first has id ``first_sample_id``."""

    round: int
    label: Any
    start: int
    stop: int
    first_sample_id: int


def shards(
    new_points: Mapping[Any, int], round_: int, first_sample_id: int, points_per_shard: int
) -> list[list[Shard]]:
    """Cut the points of a round into groups, each of which becomes one file.

    Parameters
    ----------
    new_points : mapping of label to int
    round_ : int
    first_sample_id : int
        The classes, sorted by ``str(label)``, get consecutive ids from here on.
    points_per_shard : int
        Most points in a group. A class of more points is spread over several groups;
        classes of fewer points share one.

    Returns
    -------
    list of list of Shard

    Examples
    --------
    >>> groups = shards({"a": 5, "b": 1, "c": 1}, 0, 0, points_per_shard=3)
    >>> [[(shard.label, shard.start, shard.stop) for shard in group] for group in groups]
    [[('a', 0, 3)], [('a', 3, 5), ('b', 0, 1)], [('c', 0, 1)]]
    """
    if points_per_shard < 1:
        raise ValueError(f"points_per_shard must be at least 1, not {points_per_shard}.")
    groups: list[list[Shard]] = []
    room = 0
    for label in sorted(new_points, key=str):
        count = new_points[label]
        for start in range(0, count, points_per_shard):
            stop = min(start + points_per_shard, count)
            if stop - start > room:
                groups.append([])
                room = points_per_shard
            groups[-1].append(Shard(round_, label, start, stop, first_sample_id + start))
            room -= stop - start
        first_sample_id += count
    return groups


def draw(seed: int, label: Any, round_: int, start: int, stop: int) -> Draws:
    """The random numbers of indices ``start`` to ``stop - 1`` of a class.

    Counter based: index ``i`` owns block ``i`` of a Philox 4x64 stream whose key is a hash
    of seed, label (type and text) and round, so ``draw(..., 0, n)[a:b]`` is
    ``draw(..., a, b)`` [1]_.

    Returns
    -------
    Draws
        Arrays of length ``stop - start``.

    References
    ----------
    .. [1] Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011.
    """
    if isinstance(label, np.generic):  # a numpy label and its Python twin are one class
        label = label.item()
    name = json.dumps([int(seed), type(label).__name__, str(label), int(round_)])
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    philox = np.random.Philox(key=key)
    philox.advance(start)
    source, neighbor, lam, decode = philox.random_raw(4 * (stop - start)).reshape(-1, 4).T
    # The high bits, as many as the significand holds: exact, and never rounded up to 1.
    return Draws(
        u_source=(source >> np.uint64(11)).astype(np.float64) * 2.0**-53,
        u_neighbor=(neighbor >> np.uint64(11)).astype(np.float64) * 2.0**-53,
        lam=(lam >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24),
        decode_seed=(decode >> np.uint64(33)).astype(np.int64),
    )


def plan_schema(id_type: pa.DataType, label_type: pa.DataType, dim: int) -> pa.Schema:
    """Columns of a plan table; ids and labels keep the types they have in the corpus."""
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
            ("point", pa.list_(pa.float32(), dim)),
        ]
    )


def plan_class(
    rows: ClassRows,
    shard: Shard,
    seed: int,
    k_neighbors: int,
    metric: Metric,
    interpolation: Interpolation,
    unit_norm: bool,
    lam_alpha: float = 1.0,
    nearest: Nearest | None = None,
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
    lam_alpha : float, default=1.0
        See `smotext_ray.interpolation.beta_lam`.
    nearest : callable, optional
        See `smotext_ray.neighbors.other_texts`.

    Returns
    -------
    pyarrow.Table
        One row a point, by rising sample_id: the columns of `plan_schema`, but for the texts
        ``source_row`` and ``neighbor_row``, the parents' numbers in the files. Each row of
        the class is equally likely as a source, each of its neighbours as its neighbour.

    Raises
    ------
    UserError
        When the class has one distinct text only.
    ValueError
        When ``rows`` are of another class, or embeddings hold NaN.
    """
    if rows.label != shard.label:
        raise ValueError(f"The rows given for class {shard.label!r} are of {rows.label!r}.")
    draws = draw(seed, shard.label, shard.round, shard.start, shard.stop)
    # u is a multiple of 2**-53 below 1, so the product never rounds up to the count.
    sources = rows.by_id[np.floor(draws.u_source * len(rows.by_id)).astype(np.int64)]
    drawn, place = np.unique(sources, return_inverse=True)
    near = other_texts(
        rows.embeddings[drawn],
        rows.text_of_row[drawn],
        rows.embeddings[: rows.distinct],
        k_neighbors,
        metric,
        nearest,
    )
    if near.shape[1] == 0:
        raise UserError(lonely_sentence([shard.label]))
    columns = np.floor(draws.u_neighbor * near.shape[1]).astype(np.int64)
    neighbors = near[place, columns]
    lam = beta_lam(draws.lam, lam_alpha)
    points = interpolate(
        rows.embeddings[sources], rows.embeddings[neighbors], lam, interpolation, unit_norm
    )
    dim, count = points.shape[1], len(sources)
    first = shard.first_sample_id
    return pa.table(
        {
            "sample_id": np.arange(first, first + count),
            "label": pa.repeat(pa.scalar(shard.label, rows.label_type), count),
            "source_id": rows.ids.take(pa.array(sources)),
            "neighbor_id": rows.ids.take(pa.array(neighbors)),
            "lam": lam,
            "seed": draws.decode_seed,
            "round": np.full(count, shard.round, dtype=np.int32),
            "source_row": rows.file_rows[sources],
            "neighbor_row": rows.file_rows[neighbors],
            "point": pa.FixedSizeListArray.from_arrays(pa.array(points.ravel()), dim),
        }
    )


def plan_shard(
    rows: ClassRows, shard: Shard, config: RunConfig, nearest: Nearest | None = None
) -> pa.Table:
    """`plan_class` with the settings of a run."""
    return plan_class(
        rows,
        shard,
        config.plan.seed,
        config.neighbors.k_neighbors,
        config.neighbors.metric,
        config.plan.interpolation,
        config.encoder.normalize,
        config.plan.lam_alpha,
        nearest,
    )


def with_texts(table: pa.Table, read: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> pa.Table:
    """Plan rows of `plan_class` with the texts of the parents, as `plan_schema` has them.

    Parameters
    ----------
    table : pyarrow.Table
    read : callable
        Numbers in the files -> texts.
    """
    count = len(table)
    rows = pa.chunked_array([*table["source_row"].chunks, *table["neighbor_row"].chunks])
    texts = read(rows)
    parents = {"source_row": texts.slice(0, count), "neighbor_row": texts.slice(count)}
    schema = plan_schema(
        table["source_id"].type, table["label"].type, table["point"].type.list_size
    )
    columns = [parents.get(name, table[name]) for name in table.column_names]
    # One piece each: the bytes of a plan file must not tell how the corpus was cut.
    return pa.table(columns, schema=schema).combine_chunks()
