"""The plan of a round, and a variant's source weights, as one table each, without files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from smotext_ray.config.schema import RunConfig
from smotext_ray.plan.classes import read_classes, read_corpus, read_texts
from smotext_ray.plan.neighbors import Nearest
from smotext_ray.plan.points import plan_shard, with_texts
from smotext_ray.plan.shards import shards
from smotext_ray.plan.weights import source_weights, sources_of


def unsharded_weights(
    embedded: ds.Dataset,
    points: Mapping[Any, int],
    config: RunConfig,
    nearest: Nearest | None = None,
) -> pa.Table:
    """The weights of all classes that get points: see `smotext_ray.plan.weights.source_weights`."""
    texts = read_corpus(
        embedded, embedded.to_table(columns=["label"])["label"].unique().to_pylist()
    )
    (group,) = shards(dict.fromkeys(points, len(texts.code)), 0, 0, len(points) * len(texts.code))
    return source_weights(texts, group, points, config, nearest)


def unsharded_plan(
    embedded: ds.Dataset,
    points: Mapping[Any, int],
    round_: int,
    first_id: int,
    config: RunConfig,
    nearest: Nearest | None = None,
    weights: pa.Table | None = None,
) -> pa.Table:
    """The plan of a round, in the form of `smotext_ray.tables.plan_schema`.

    Parameters
    ----------
    embedded : pyarrow.dataset.Dataset
        ``id, label, embedding`` and, except with epsilon, ``text``.
    points : mapping of label to int
    round_, first_id : int
    config : RunConfig
    nearest : callable, optional
        See `smotext_ray.plan.neighbors.other_texts`.
    weights : pyarrow.Table, optional
        Source weights of a SMOTE variant.
    """
    (group,) = shards(points, round_, first_id, sum(points.values()))
    classes = read_classes(embedded, [shard.label for shard in group])
    tables = []
    for rows, shard in zip(classes, group, strict=True):
        sources = None if weights is None else sources_of(ds.dataset(weights), rows)
        tables.append(plan_shard(rows, shard, config, nearest, sources))
    return with_texts(pa.concat_tables(tables), lambda rows: read_texts(embedded, rows))
