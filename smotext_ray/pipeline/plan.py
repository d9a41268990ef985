"""The plan job: which points to make in a round, and who makes them."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from smotext_ray.cluster import connect, pools
from smotext_ray.cluster.progress import stage_progress, task_progress
from smotext_ray.cluster.ray_data import in_task, set_up_data
from smotext_ray.cluster.restarts import bounded_restarts, lasting
from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.actors import REAL, Actors
from smotext_ray.pipeline.plan_files import (
    group_item,
    weight_shards,
    weights_directory,
    write_groups,
)
from smotext_ray.plan.classes import is_small, rows_gib
from smotext_ray.plan.shards import Shard, shards
from smotext_ray.plan.strategy import check_class_sizes, lacking, targets
from smotext_ray.plan.weights import without_sourceless
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import accepted, class_counts, planned_points, rounds_used, to_pairs
from smotext_ray.run.reference import distinct_texts

log = logging.getLogger("smotext_ray")


# Of a plan that one task makes: some seconds of one core.
LIGHT_FILES = 4
LIGHT_PRODUCTS = 2e11  # of two numbers, in the search for neighbours


def plan(config: RunConfig, run: Run, actors: Actors = REAL) -> bool:
    """Plan the next round; False where nothing is left to plan."""
    manifest = run.manifest
    to_plan = _lacking(config, run, manifest, actors)
    if not to_plan or rounds_used(manifest) >= config.plan.max_rounds:
        return False
    round_ = len(manifest["rounds"]) + 1
    first_id = sum(planned_points(entry) for entry in manifest["rounds"])
    points = sum(to_plan.values())
    files = math.ceil(points / config.resources.plan_points_per_file)
    # Files of equal size: Ray Data cuts each into equally many blocks, whatever its size.
    groups = shards(to_plan, round_, first_id, math.ceil(points / files))
    started = time.monotonic()
    written = _write_plan(config, run, manifest, groups, to_plan, actors)
    manifest["rounds"].append(
        {
            "round": round_,
            "planned": to_pairs(to_plan),
            "plan_seconds": time.monotonic() - started,
            "plan_files": {row["file"]: row["sha256"] for row in written},
        }
    )
    run.save(manifest)
    return True


def _write_plan(
    config: RunConfig,
    run: Run,
    manifest: dict[str, Any],
    groups: list[list[Shard]],
    to_plan: dict[Any, int],
    actors: Actors,
) -> list[dict[str, str]]:
    """A file for each group, by one task or a pool of planners; rows of ``file`` and ``sha256``."""
    items = [group_item(groups[0][0].round, i, group) for i, group in enumerate(groups)]
    points, counts, dim = sum(to_plan.values()), class_counts(manifest), _dim(run)
    weights = None if config.plan.variant == "smote" else weights_directory(manifest)
    if len(items) <= LIGHT_FILES and is_light(counts, to_plan, dim):
        with task_progress("plan", points, run):
            written: list[dict[str, str]] = in_task(write_groups, run, config, items, weights)
        return written
    largest = max(sum(counts[shard.label] for shard in group) for group in groups)
    memory_gib = planner_gib(sum(counts.values()), largest, dim)
    if config.plan.variant == "kmeans":  # neighbours are looked for in a copy of their cluster
        memory_gib += 4 * largest * dim / connect.GIB
    return _in_planners(
        actors.plan, "plan", config, run, items, points, memory_gib, weights=weights
    )


def is_light(counts: Mapping[Any, int], points: Mapping[Any, int], dim: int) -> bool:
    """Whether a plan takes less time than a pool of actors needs to start.

    Parameters
    ----------
    counts : mapping of label to int
        Rows of all classes.
    points : mapping of label to int
        To be planned.
    dim : int
        Of the embeddings.
    """
    searched = sum(min(number, counts[label]) * counts[label] for label, number in points.items())
    return is_small(sum(counts.values()), dim) and searched * dim <= LIGHT_PRODUCTS


def _in_planners(
    actor: Any,
    stage: str,
    config: RunConfig,
    run: Run,
    items: list[dict[str, str]],
    total: int,
    memory_gib: float,
    **given: Any,
) -> list[dict[str, str]]:
    """Write a file for each item, spread over a pool of planners; a row a file, by its name."""
    import ray

    resources = connect.connect()
    pool = pools.planner_pool(resources, config, len(items), memory_gib)
    with (
        stage_progress(stage, total, run) as counter,
        bounded_restarts(config.resources, counter=counter) as restarts,
    ):
        planner = {"config": config, "run_uri": run.uri, "counter": counter, **given}
        set_up_data(None, None)
        written = (
            ray.data.from_items(items, override_num_blocks=len(items))
            .map(
                **lasting(actor, planner, "planner", restarts, config.resources),
                **pools.pool_options(pool),
            )
            .take_all()  # one row a file
        )
    return sorted(written, key=lambda row: row["file"])


def planner_gib(corpus: int, classes: int, dim: int) -> float:
    """Memory of a planner, by the rows of the corpus and of the classes of its largest file.

    Libraries, the embeddings as far as they are not held on disk, and what is known of each
    row (benchmarks/growth.py tells what planners took).
    """
    return 1.0 + rows_gib(corpus if is_small(corpus, dim) else classes, dim)


def _dim(run: Run) -> int:
    return int(run.table("embeddings").schema.field("embedding").type.list_size)


def _lacking(
    config: RunConfig, run: Run, manifest: dict[str, Any], actors: Actors
) -> dict[Any, int]:
    """Points to plan now: what was asked for, less what is accepted, over the acceptance."""
    counts = class_counts(manifest)
    if "targets" not in manifest:
        distinct = distinct_texts(run, list(counts))
        kept, warnings = check_class_sizes(
            distinct,
            targets(counts, config.plan.sampling_strategy, allow_reached="expansions" in manifest),
            config.neighbors.k_neighbors,
            config.neighbors.on_singleton_class,
        )
        if config.plan.variant != "smote" and kept:
            manifest["weights"], sources = _weigh(config, run, manifest, kept, actors)
            kept, sourceless = without_sourceless(kept, sources, config)
            warnings += sourceless
        for warning in warnings:
            log.warning(warning)
        manifest["targets"] = to_pairs(kept)
        manifest["warnings"] = warnings
        run.save(manifest)
    planned: Counter[Any] = Counter()
    for entry in manifest["rounds"]:
        planned.update(dict(entry["planned"]))
    expected = config.plan.expected_acceptance
    return lacking(dict(manifest["targets"]), accepted(manifest), planned, expected)


def _weigh(
    config: RunConfig, run: Run, manifest: dict[str, Any], points: dict[Any, int], actors: Actors
) -> tuple[dict[str, Any], dict[Any, int]]:
    """Write what a variant needs to know of the classes that get points.

    Returns
    -------
    facts : dict
        For the manifest: ``files`` with their hashes, ``seconds``.
    sources : dict of label to int
        Texts of each class that a point may start from.
    """
    started = time.monotonic()
    counts = class_counts(manifest)
    items = [
        {"file": f"{weights_directory(manifest)}/part-{number:05d}.parquet", "shards": part}
        for number, part in enumerate(weight_shards(config, counts, points))
    ]
    corpus = sum(counts.values())
    written = _in_planners(
        actors.weigh,
        "weigh",
        config,
        run,
        items,
        sum(counts[label] for label in points),
        planner_gib(corpus, corpus, _dim(run)),
        counts=to_pairs(counts),
        points=to_pairs(points),
    )
    sources: Counter[Any] = Counter()
    for row in written:
        sources.update(dict(json.loads(row["sources"])))
    files = {row["file"]: row["sha256"] for row in written}
    return {"files": files, "seconds": time.monotonic() - started}, dict(sources)
