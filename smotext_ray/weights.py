"""``weights/``: what a variant says of each text of a class, as a table of the run.

Made once before the first plan, and anew when an expansion has changed the embeddings. One
row a text, ``label, id, weight``, and ``cluster`` or ``reach`` where the variant has them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from smotext_ray.class_rows import ClassRows, CorpusTexts, read_corpus
from smotext_ray.config import RunConfig
from smotext_ray.neighbors import Nearest
from smotext_ray.plan import Shard, shards
from smotext_ray.run import Run
from smotext_ray.variants import (
    WHOLE,
    Sources,
    adasyn_sources,
    borderline_sources,
    fit_clusters,
    kmeans_sources,
    others_among_nearest,
    support_texts,
    svm_sources,
)

WHY_NONE = {
    "borderline": "none of its texts is in danger, with at least half of the {m} nearest texts of "
    "other classes, but not all",
    "adasyn": "none of its texts has one of another class among the {k} nearest",
    "kmeans": "no cluster holds enough of its texts",
    "svm": "no support vector of it is more than noise, with nothing but other classes around it",
}


def weights_directory(manifest: Mapping[str, Any]) -> str:
    """Where the weights of the run's present embeddings and targets are.

    An expansion may change both, so it has weights of its own.
    """
    return f"weights/expansion-{len(manifest.get('expansions', []))}"


def weight_shards(
    config: RunConfig, counts: Mapping[Any, int], points: Mapping[Any, int]
) -> list[str]:
    """What to weigh, cut into tasks: shards of texts as JSON, each of which becomes a file.

    Parameters
    ----------
    config : RunConfig
    counts : mapping of label to int
        Rows of each class, which has at most so many texts.
    points : mapping of label to int
        The classes that get some.
    """
    rows = {label: counts[label] for label in points}
    each = config.resources.plan_points_per_file
    if config.plan.variant in WHOLE:
        each = max(1, sum(rows.values()))
    return [json.dumps([asdict(part) for part in group]) for group in shards(rows, 0, 0, each)]


def weigh(
    texts: CorpusTexts,
    group: Sequence[Shard],
    points: Mapping[Any, int],
    config: RunConfig,
    nearest: Nearest | None = None,
) -> pa.Table:
    """Weigh some texts, each as it stands in the whole corpus.

    Parameters
    ----------
    texts : CorpusTexts
    group : sequence of Shard
        ``start`` and ``stop`` count the texts of a class, and may reach beyond the last.
    points : mapping of label to int
        That all classes are to get.
    config : RunConfig
    nearest : callable, optional
        For adasyn, which has one number of neighbours for all; see
        `smotext_ray.neighbors.other_texts`.

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


def _table(texts: CorpusTexts, label: Any, rows: np.ndarray, found: Sources) -> pa.Table:
    columns = {
        "label": pa.repeat(pa.scalar(label, texts.label_type), len(rows)),
        "id": texts.ids.take(pa.array(rows)),
        "weight": found.weight,
    }
    extra = {"cluster": found.cluster, "reach": found.reach}
    return pa.table(columns | {name: x for name, x in extra.items() if x is not None})


def sources_of(weights: ds.Dataset, rows: ClassRows) -> Sources:
    """The sources of a class, as `smotext_ray.plan.plan_class` takes them.

    Raises
    ------
    ValueError
        If they are not those of the class's texts.
    """
    wanted = pc.field("label") == pa.scalar(rows.label, rows.label_type)
    table = weights.to_table(filter=wanted).sort_by("id")  # as `ClassRows` has its texts
    if not table["id"].combine_chunks().equals(rows.ids[: rows.distinct]):
        raise ValueError(f"The weights of class {rows.label!r} are not those of its texts.")
    names = ("weight", "cluster", "reach")
    return Sources(**{n: table[n].to_numpy() for n in names if n in table.column_names})


def count_sources(weights: pa.Table) -> dict[Any, int]:
    """The texts of each class that a point may start from."""
    counts = dict.fromkeys(weights["label"].unique().to_pylist(), 0)
    some = weights.filter(pc.field("weight") > 0)
    for entry in pc.value_counts(some["label"]).to_pylist():
        counts[entry["values"]] = entry["counts"]
    return counts


def without_sourceless(
    points: Mapping[Any, int], sources: Mapping[Any, int], config: RunConfig
) -> tuple[dict[Any, int], list[str]]:
    """The points of the classes that have a source, and a warning for each that has none."""
    why = WHY_NONE[config.plan.variant].format(
        k=config.neighbors.k_neighbors, m=config.neighbors.m_neighbors
    )
    kept = {label: count for label, count in points.items() if sources[label]}
    return kept, [
        f"Class {label!r} is skipped: {why}; plan.variant=smote takes all texts."
        for label in points
        if label not in kept
    ]


class WeightWriter:
    """Writes the files of ``weights/``; holds the texts of the whole corpus once it has read them.

    Parameters
    ----------
    run : Run
    config : RunConfig
    counts, points : mapping of label to int
        Rows of all classes, and points of those that get some.
    """

    def __init__(
        self, run: Run, config: RunConfig, counts: Mapping[Any, int], points: Mapping[Any, int]
    ) -> None:
        self._run, self._config = run, config
        self._labels, self._points = list(counts), points
        self._texts: CorpusTexts | None = None

    def __call__(self, file: str, shards: str) -> tuple[str, dict[Any, int]]:
        """Write a file, unless it is there, which it is only when whole.

        Returns
        -------
        sha256 : str
        sources : dict
            As `count_sources` gives them.
        """
        if self._run.has(file):
            content = self._run.read(file)
            table = pq.read_table(pa.BufferReader(content))
        else:
            if self._texts is None:
                self._texts = read_corpus(self._run.table("embeddings"), self._labels)
            group = [Shard(**shard) for shard in json.loads(shards)]
            table = weigh(self._texts, group, self._points, self._config)
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink)
            content = sink.getvalue().to_pybytes()
            self._run.write(content, file)
        return hashlib.sha256(content).hexdigest(), count_sources(table)
