"""``weights/``: a variant's source weights for each text of a class, as a table of the run.

Computed once before the first plan, and again when an expansion has changed the embeddings. One row
per text: ``label, id, weight``, and ``cluster`` or ``reach`` if the variant has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from smotext_ray.config.choices import Variant
from smotext_ray.config.schema import RunConfig
from smotext_ray.plan.classes import ClassRows, DistinctTexts
from smotext_ray.plan.neighbors import Nearest
from smotext_ray.plan.shards import Shard
from smotext_ray.plan.strategy import called
from smotext_ray.plan.variants import (
    Sources,
    adasyn_sources,
    borderline_sources,
    fit_clusters,
    kmeans_sources,
    others_among_nearest,
    support_texts,
    svm_sources,
)

WHY_NONE: dict[Variant, str] = {
    "borderline": "none of its texts is in danger, with at least half of the {m} nearest texts of "
    "other classes, but not all",
    "adasyn": "none of its texts has a text of another class among the {k} nearest",
    "kmeans": "no cluster has enough of its texts",
    "svm": "all of its support vectors are noise, surrounded only by other classes",
}


def source_weights(
    texts: DistinctTexts,
    group: Sequence[Shard],
    points: Mapping[Any, int],
    config: RunConfig,
    nearest: Nearest | None = None,
) -> pa.Table:
    """Compute the weights of some texts, in the context of the whole corpus.

    Parameters
    ----------
    texts : DistinctTexts
    group : sequence of Shard
        ``start`` and ``stop`` index the texts of a class, and may exceed their number.
    points : mapping of label to int
        Points requested for all classes.
    config : RunConfig
    nearest : callable, optional
        For adasyn, which uses the same number of neighbors for all; see
        `smotext_ray.plan.neighbors.other_texts`.

    Returns
    -------
    pyarrow.Table
    """
    variant, k, metric = config.plan.variant, config.neighbors.k_neighbors, config.neighbors.metric
    if variant == "kmeans":
        clusters = fit_clusters(texts.embeddings, config.plan.n_clusters, config.plan.seed)
    elif variant == "svm":
        is_support = support_texts(texts.embeddings, texts.code)
    tables = []
    for shard in group:
        own = texts.of_class(shard.label)
        rows = np.arange(own.start, own.stop)[shard.start : shard.stop]
        if variant == "kmeans":
            share = points[shard.label] / sum(points.values())
            found = kmeans_sources(texts.embeddings, texts.copies, clusters, own, share, k)
        elif variant == "adasyn":
            found = adasyn_sources(
                *others_among_nearest(texts.embeddings, texts.code, rows, k, metric, nearest)
            )
        else:
            others, m = others_among_nearest(
                texts.embeddings, texts.code, rows, config.neighbors.m_neighbors, metric
            )
            if variant == "svm":
                found = svm_sources(is_support[rows], others, m)
            else:
                found = borderline_sources(others, m)
        tables.append(_table(texts, shard.label, rows, found))
    return pa.concat_tables(tables)


def _table(texts: DistinctTexts, label: Any, rows: np.ndarray, found: Sources) -> pa.Table:
    columns = {
        "label": pa.repeat(pa.scalar(label, texts.label_type), len(rows)),
        "id": texts.ids.take(pa.array(rows)),
        "weight": found.weight,
    }
    extra = {"cluster": found.cluster, "reach": found.step_scale}
    return pa.table(columns | {name: x for name, x in extra.items() if x is not None})


def sources_of(weights: ds.Dataset, rows: ClassRows) -> Sources:
    """The sources of a class, for `smotext_ray.plan.points.plan_class`.

    Raises
    ------
    ValueError
        If they do not match the class's texts.
    """
    wanted = pc.field("label") == pa.scalar(rows.label, rows.label_type)
    table = weights.to_table(filter=wanted).sort_by("id")  # the order of texts in `ClassRows`
    if not table["id"].combine_chunks().equals(rows.ids[: rows.distinct]):
        raise ValueError(f"The weights of class {rows.label!r} do not match its texts.")
    columns = {"weight": "weight", "cluster": "cluster", "reach": "step_scale"}
    found = {columns[n]: table[n].to_numpy() for n in columns if n in table.column_names}
    return Sources(**found)


def count_sources(weights: pa.Table) -> dict[Any, int]:
    """Number of texts per class that points may start from."""
    counts = dict.fromkeys(weights["label"].unique().to_pylist(), 0)
    some = weights.filter(pc.field("weight") > 0)
    for entry in pc.value_counts(some["label"]).to_pylist():
        counts[entry["values"]] = entry["counts"]
    return counts


def without_sources(
    points: Mapping[Any, int],
    sources: Mapping[Any, int],
    config: RunConfig,
    names: Mapping[Any, str] | None = None,
) -> tuple[dict[Any, int], list[str]]:
    """The points of classes with a source, and a warning for each class without one."""
    why = WHY_NONE[config.plan.variant].format(
        k=config.neighbors.k_neighbors, m=config.neighbors.m_neighbors
    )
    kept = {label: count for label, count in points.items() if sources[label]}
    return kept, [
        f"Class {called(label, names)!r} is skipped: {why}; plan.variant=smote uses all texts."
        for label in points
        if label not in kept
    ]
