"""Plan files: read the rows of classes, plan their points, write each file atomically."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from smotext_ray.config.schema import RunConfig
from smotext_ray.plan.classes import ClassReader, DistinctTexts, read_corpus
from smotext_ray.plan.multilabel import shares
from smotext_ray.plan.neighbors import Nearest
from smotext_ray.plan.points import NeighborCache, plan_shard, with_texts
from smotext_ray.plan.shards import Shard, shards
from smotext_ray.plan.variants import NEEDS_WHOLE_CORPUS
from smotext_ray.plan.weights import count_sources, source_weights, sources_of
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.tables import weights_table

TOLD_POINTS = 1000


def group_item(
    run_round: int, number: int, group: list[Shard], made_of: str = ""
) -> dict[str, str]:
    """A group of shards as a row for Ray Data.

    Parameters
    ----------
    run_round, number : int
    group : list of Shard
    made_of : str
        What else the points depend on; see `plan_source`. The file's name has a digest of all of
        it, so that a file left by another plan is not mistaken for this one.
    """
    return _item(f"round-{run_round}", number, group, made_of)


def plan_source(config: RunConfig, manifest: Manifest) -> str:
    """Everything that a shard's points depend on, except the texts, which never change in a run."""
    used = config.model_dump(mode="json", include={"plan", "neighbors", "privacy"})
    # These only determine the number of points, which is part of the shards.
    for key in ("max_rounds", "expected_acceptance", "sampling_strategy"):
        del used["plan"][key]
    if not manifest.is_multilabel:
        del used["plan"]["label_sets"]
    counts = [[label, number] for label, number in manifest.class_counts.items()]
    return json.dumps([used, counts, len(manifest.expansions or [])], sort_keys=True)


def _item(directory: str, number: int, group: list[Shard], made_of: str) -> dict[str, str]:
    shards_ = json.dumps([asdict(shard) for shard in group])
    digest = hashlib.sha256(f"{made_of}\n{shards_}".encode()).hexdigest()
    return {"file": f"{directory}/part-{number:05d}-{digest[:12]}.parquet", "shards": shards_}


class PlanWriter:
    """Writes the files of ``plan/``; caches the most recent classes and their neighbors.

    Parameters
    ----------
    run : Run
    config : RunConfig
    weights : str, optional
        Directory of source weights, for a SMOTE variant.
    nearest : callable, optional
        See `smotext_ray.plan.neighbors.other_texts`.
    """

    def __init__(
        self,
        run: Run,
        config: RunConfig,
        weights: str | None = None,
        nearest: Nearest | None = None,
    ) -> None:
        self._run, self._config, self._nearest = run, config, nearest
        self._reader = ClassReader(run.table("embeddings"))
        self._weights = weights_table(run, weights) if weights else None
        self._known: dict[Any, NeighborCache] = {}

    def __call__(self, file: str, shards: str) -> tuple[str, int]:
        """Write a file, unless it exists.

        Returns
        -------
        sha256 : str
            Digest of the file.
        rows : int
        """
        if (found := _existing(self._run, "plan", file)) is not None:
            rows = pq.read_metadata(pa.BufferReader(found)).num_rows
            return hashlib.sha256(found).hexdigest(), rows
        group = [Shard(**shard) for shard in json.loads(shards)]
        table = with_texts(pa.concat_tables(self._tables(group)), self._reader.texts)
        sink = pa.BufferOutputStream()
        # All points differ: dictionary encoding would take time and save nothing.
        pq.write_table(table, sink, use_dictionary=["label"])
        content = sink.getvalue().to_pybytes()
        self._run.write(content, "plan", file)
        return hashlib.sha256(content).hexdigest(), len(table)

    def _tables(self, group: list[Shard]) -> list[pa.Table]:
        classes = self._reader([shard.label for shard in group])
        held = self._reader.held
        self._known = {label: self._known.get(label, NeighborCache()) for label in held}
        tables = []
        for rows, shard in zip(classes, group, strict=True):
            sources = None if self._weights is None else sources_of(self._weights, rows)
            known = self._known[shard.label]
            tables.append(plan_shard(rows, shard, self._config, self._nearest, sources, known))
        return tables


def labels_together(
    run: Run, config: RunConfig, points: Mapping[Any, int]
) -> dict[Any, dict[Any, float]]:
    """The share of the points made for each label that has each of the other labels.

    From the first points of round 1, at most `TOLD_POINTS` per label, which are planned here and
    not kept. For a label with more points, the share is an estimate from these.

    Parameters
    ----------
    run : Run
    config : RunConfig
    points : mapping of label to int
        New texts with each label.
    """
    reader = ClassReader(run.table("embeddings"))
    found: dict[Any, dict[Any, float]] = {}
    for label, number in points.items():
        (rows,) = reader([label])
        table = plan_shard(rows, Shard(1, label, 0, min(number, TOLD_POINTS), 0), config)
        found |= shares(table["label"].combine_chunks(), table["labels"].combine_chunks())
    return found


def write_groups(
    run: Run, config: RunConfig, items: list[dict[str, str]], weights: str | None
) -> list[dict[str, str]]:
    """Write a file per `group_item`, in this process; returns rows of ``file`` and ``sha256``."""
    write = PlanWriter(run, config, weights)
    return [{"file": item["file"], "sha256": write(**item)[0]} for item in items]


def weights_directory(manifest: Manifest) -> str:
    """Directory of the weights for the run's current embeddings and targets.

    An expansion may change both, so it has its own weights.
    """
    return f"weights/expansion-{len(manifest.expansions or [])}"


def weight_items(
    config: RunConfig, manifest: Manifest, points: Mapping[Any, int]
) -> list[dict[str, str]]:
    """The files of a run's weights: rows like those of `group_item`.

    Parameters
    ----------
    config : RunConfig
    manifest : Manifest
    points : mapping of label to int
        Points of the classes that get any.
    """
    directory = weights_directory(manifest)
    # A weight depends on all points: k-means has as many clusters as the points allow.
    asked = json.dumps([[label, number] for label, number in points.items()])
    made_of = f"{plan_source(config, manifest)}\n{asked}"
    groups = weight_shards(config, manifest.class_counts, points)
    return [_item(directory, number, group, made_of) for number, group in enumerate(groups)]


def weight_shards(
    config: RunConfig, counts: Mapping[Any, int], points: Mapping[Any, int]
) -> list[list[Shard]]:
    """Split the texts to weigh into tasks, each of which becomes a file.

    Parameters
    ----------
    config : RunConfig
    counts : mapping of label to int
        Rows of each class, an upper bound for the number of its texts.
    points : mapping of label to int
        Points of the classes that get any.
    """
    rows = {label: counts[label] for label in points}
    each = config.resources.plan_points_per_file
    if config.plan.variant in NEEDS_WHOLE_CORPUS:
        each = max(1, sum(rows.values()))
    return shards(rows, 0, 0, each)


class WeightWriter:
    """Writes the files of ``weights/``; caches the texts of the whole corpus.

    Parameters
    ----------
    run : Run
    config : RunConfig
    counts, points : mapping of label to int
        Rows of all classes, and points of those that get any.
    nearest : callable, optional
        See `smotext_ray.plan.weights.source_weights`.
    """

    def __init__(
        self,
        run: Run,
        config: RunConfig,
        counts: Mapping[Any, int],
        points: Mapping[Any, int],
        nearest: Nearest | None = None,
    ) -> None:
        self._run, self._config, self._nearest = run, config, nearest
        self._labels, self._points = list(counts), points
        self._texts: DistinctTexts | None = None

    def __call__(self, file: str, shards: str) -> tuple[str, dict[Any, int]]:
        """Write a file, unless it exists.

        Returns
        -------
        sha256 : str
        sources : dict
            As returned by `count_sources`.
        """
        content = _existing(self._run, file)
        if content is not None:
            table = pq.read_table(pa.BufferReader(content))
        else:
            if self._texts is None:
                self._texts = read_corpus(self._run.table("embeddings"), self._labels)
            group = [Shard(**shard) for shard in json.loads(shards)]
            table = source_weights(self._texts, group, self._points, self._config, self._nearest)
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink)
            content = sink.getvalue().to_pybytes()
            self._run.write(content, file)
        return hashlib.sha256(content).hexdigest(), count_sources(table)


def _existing(run: Run, *parts: str) -> bytes | None:
    """A file that was written before; None if there is none or a power failure truncated it."""
    if not run.has(*parts):
        return None
    content = run.read(*parts)
    try:
        pq.read_metadata(pa.BufferReader(content))
    except pa.ArrowInvalid:
        return None
    return content
