"""Split the points of a round into shards of one class each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
    """Split the points of a round into groups, each of which becomes one file.

    Parameters
    ----------
    new_points : mapping of label to int
    round_ : int
    first_sample_id : int
        The classes, sorted by ``str(label)``, get consecutive ids from here on.
    points_per_shard : int
        Maximum points per group. A class with more points is spread over several groups; classes
        with fewer points share one.

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
