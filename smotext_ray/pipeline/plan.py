"""The plan job: the points of a round, and whether one task or a pool plans them."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Any

from smotext_ray.cluster import session
from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.executor import Executor
from smotext_ray.pipeline.jobs import PlanJob
from smotext_ray.pipeline.on_ray import ON_RAY
from smotext_ray.pipeline.plan_files import (
    group_item,
    labels_together,
    plan_source,
    weight_items,
    weights_directory,
)
from smotext_ray.pipeline.wanted import wanted_texts
from smotext_ray.plan.acceptance import lacking
from smotext_ray.plan.classes import is_small, rows_gib
from smotext_ray.plan.multilabel import lacking_labels, rarest_first
from smotext_ray.plan.shards import Shard, shards
from smotext_ray.plan.strategy import check_class_sizes
from smotext_ray.plan.weights import without_sources
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import Round, WeightFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.reference import distinct_texts
from smotext_ray.run.tables import embeddings_table

log = logging.getLogger("smotext_ray")

# Limits of a plan for a single task: a few seconds on one core.
LIGHT_FILES = 4
LIGHT_PRODUCTS = 2e11  # multiplications in the neighbor search


def plan(
    config: RunConfig,
    run: Run,
    manifest: Manifest,
    executor: Executor = ON_RAY,
) -> bool:
    """Plan the next round; False if nothing is left to plan."""
    if manifest.targets is None:
        settle_targets(config, run, manifest, executor)
    to_plan = points_to_plan(config, manifest)
    if not to_plan or manifest.rounds_used >= config.plan.max_rounds:
        return False
    round_ = len(manifest.rounds) + 1
    groups = _groups(config, to_plan, round_, manifest.points)
    weights = manifest.weights.files if manifest.weights else {}
    made_of = f"{plan_source(config, manifest)}\n{sorted(weights.items())}"
    items = [group_item(round_, i, group, made_of) for i, group in enumerate(groups)]
    started = time.monotonic()
    written = executor.plan(config, run, _plan_job(config, run, manifest, groups, items, executor))
    run.seal([row["file"].rpartition("/")[2] for row in written], "plan", f"round-{round_}")
    manifest.rounds.append(
        Round(
            round=round_,
            planned=to_plan,
            plan_seconds=time.monotonic() - started,
            plan_files={row["file"]: row["sha256"] for row in written},
        )
    )
    manifest.save(run)
    return True


def plan_again(
    config: RunConfig,
    run: Run,
    manifest: Manifest,
    entry: Round,
    executor: Executor = ON_RAY,
) -> dict[str, str]:
    """Write the missing files of a planned round, and return their digests by name.

    The digests equal those in the manifest, unless the run has been expanded since.
    """
    before = sum(other.points for other in manifest.rounds if other.round < entry.round)
    groups = _groups(config, entry.planned, entry.round, before)
    items = [
        group_item(entry.round, 0, group) | {"file": file}
        for file, group in zip(sorted(entry.plan_files), groups, strict=True)
    ]
    written = executor.plan(config, run, _plan_job(config, run, manifest, groups, items, executor))
    return {row["file"]: row["sha256"] for row in written}


def _groups(
    config: RunConfig, to_plan: Mapping[Any, int], round_: int, first: int
) -> list[list[Shard]]:
    """The shards of each file of a round that starts with the sample id ``first``."""
    points = sum(to_plan.values())
    files = math.ceil(points / config.resources.plan_points_per_file)
    # Files of equal size: Ray Data splits each into the same number of blocks, whatever its size.
    return shards(to_plan, round_, first, math.ceil(points / files))


def points_to_plan(config: RunConfig, manifest: Manifest) -> dict[Any, int]:
    """Points to plan now: requested minus accepted texts, divided by the acceptance rate."""
    targets = manifest.targets or {}
    expected, got, planned = (
        config.plan.expected_acceptance,
        manifest.accepted(),
        manifest.planned(),
    )
    if not manifest.is_multilabel:
        return lacking(targets, got, planned, expected)
    order = rarest_first(targets, manifest.class_counts)
    missing = {label: targets[label] - got.get(label, 0) for label in order}
    usable = planned - manifest.rejected()
    together: dict[Any, dict[Any, float]] = {}
    for label, other, share in manifest.together or ():
        together.setdefault(label, {})[other] = share
    return lacking_labels(missing, planned, usable, expected, together)


def settle_targets(
    config: RunConfig,
    run: Run,
    manifest: Manifest,
    executor: Executor = ON_RAY,
) -> None:
    """Determine how many new texts each class gets, and weigh its texts for a SMOTE variant.

    Classes without anything to interpolate are skipped; this is known only from the embeddings.

    Raises
    ------
    UserError
        For a class with one distinct text, unless such classes are skipped.
    """
    counts = manifest.class_counts
    kept, warnings = check_class_sizes(
        distinct_texts(run, list(counts)),
        wanted_texts(config, manifest),
        config.neighbors.k_neighbors,
        config.neighbors.on_singleton_class,
        manifest.input.class_names,
    )
    if config.plan.variant != "smote" and kept:
        manifest.weights, sources = _weigh(config, run, manifest, kept, executor)
        kept, sourceless = without_sources(kept, sources, config, manifest.input.class_names)
        warnings += sourceless
    if manifest.is_multilabel:
        found = executor.call(labels_together, run, config, kept)
        manifest.together = [
            (label, other, share) for label, more in found.items() for other, share in more.items()
        ]
    for warning in warnings:
        log.warning(warning)
    manifest.targets, manifest.warnings = kept, warnings
    manifest.save(run)


def _plan_job(
    config: RunConfig,
    run: Run,
    manifest: Manifest,
    groups: list[list[Shard]],
    items: list[dict[str, str]],
    executor: Executor,
) -> PlanJob:
    """The job that writes a file per group, in one task or a pool."""
    points: Counter[Any] = Counter()
    for shard in chain.from_iterable(groups):
        points[shard.label] += shard.stop - shard.start
    counts, dim = manifest.embedded_counts, _dim(run)
    largest = max(sum(counts[shard.label] for shard in group) for group in groups)
    memory_gib = planner_gib(sum(counts.values()), largest, dim)
    if config.plan.variant == "kmeans":  # neighbors are searched in a copy of their cluster
        memory_gib += 4 * largest * dim / session.GIB
    if len(items) <= LIGHT_FILES and fits_one_task(counts, points, dim):
        memory_gib = 0.0
    weights = None if config.plan.variant == "smote" else weights_directory(manifest)
    return PlanJob(
        actor=executor.actors.plan,
        arguments={"weights": weights},
        groups=items,
        stage="plan",
        rows=sum(points.values()),
        memory_gib=memory_gib,
    )


def fits_one_task(counts: Mapping[Any, int], points: Mapping[Any, int], dim: int) -> bool:
    """Whether a plan takes less time than starting a pool of actors.

    Parameters
    ----------
    counts : mapping of label to int
        Number of embedded rows of all classes.
    points : mapping of label to int
        Points to plan.
    dim : int
        Embedding dimension.
    """
    searched = sum(min(number, counts[label]) * counts[label] for label, number in points.items())
    return is_small(sum(counts.values()), dim) and searched * dim <= LIGHT_PRODUCTS


def planner_gib(corpus: int, classes: int, dim: int) -> float:
    """Memory of a planner in GiB, given all embedded rows and those of its largest file's classes.

    Includes libraries, embeddings not kept on disk, and per-row data (benchmarks/growth.py measures
    the memory of planners).
    """
    return 1.0 + rows_gib(corpus if is_small(corpus, dim) else classes, dim)


def _dim(run: Run) -> int:
    return int(embeddings_table(run).schema.field("embedding").type.list_size)


def _weigh(
    config: RunConfig,
    run: Run,
    manifest: Manifest,
    points: dict[Any, int],
    executor: Executor,
) -> tuple[WeightFacts, dict[Any, int]]:
    """Write a variant's source weights for the classes that get points.

    Returns
    -------
    facts : WeightFacts
    sources : dict of label to int
        Number of texts per class that points may start from.
    """
    started = time.monotonic()
    counts = manifest.class_counts
    corpus = sum(counts.values())
    job = PlanJob(
        actor=executor.actors.weigh,
        arguments={"counts": counts, "points": points},
        groups=weight_items(config, manifest, points),
        stage="weigh",
        rows=sum(counts[label] for label in points),
        memory_gib=planner_gib(corpus, corpus, _dim(run)),
    )
    written = executor.plan(config, run, job)
    sources: Counter[Any] = Counter()
    for row in written:
        sources.update(dict(json.loads(row["sources"])))
    files = {row["file"]: row["sha256"] for row in written}
    run.seal([file.rpartition("/")[2] for file in files], weights_directory(manifest))
    return WeightFacts(files=files, seconds=time.monotonic() - started), dict(sources)
