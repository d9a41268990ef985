"""Planning: against imbalanced-learn's SMOTE, and against the bare FAISS search in it.

    python benchmarks/plan.py --output /tmp/plan

100,000 random unit vectors of 384 numbers in 20 classes whose sizes follow Zipf's law; the classes
below some 5,000 rows are raised until there are 37,000 new points. All ways in one process, in
turn, three times, the best of each:

- `imbalanced-learn`: SMOTE.fit_resample on arrays in memory;
- `faiss`: a search of the rows that the plan draws, among their class, and nothing else;
- `plan files`: what the planners do: read embeddings/, plan, write plan files with the lineage;
- `plan stage`: all of `smotext plan`, with Ray's actors started for it.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from figures import Target, save, show, show_ratios
from growth import class_sizes, write_run

K = 5
NEW_POINTS = 37_000
TARGETS = [
    Target("plan files", "imbalanced-learn", 0.5, is_most=True),
    Target("plan stage", "imbalanced-learn", 0.5, is_most=True),
    Target("plan files", "faiss", 1.3, is_most=True),
]


def main() -> int:
    options = _options()
    from smotext_ray.cluster import session
    from smotext_ray.run.directory import Run

    run = Run(str(options.output / "run"))
    shutil.rmtree(run.uri, ignore_errors=True)
    sizes = class_sizes("points")
    more = raised(sizes)
    write_run(run, sizes, more=more)
    session.connect()
    ways: dict[str, Callable[[], float]] = {
        "imbalanced-learn": lambda: imbalanced_learn(run, more),
        "faiss": lambda: faiss_search(run),
        "plan files": lambda: plan_files(run, more),
        "plan stage": lambda: plan_stage(run),
    }
    ways["plan stage"]()  # so that there is a plan to draw the same rows by
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.repeats):
        for way, measure in ways.items():
            seconds[way].append(measure())
    best = {way: min(times) for way, times in seconds.items()}
    show(["way", "seconds"], [[way, f"{taken:.2f}"] for way, taken in best.items()])
    ratios = show_ratios(best, TARGETS)
    sizes_of = {"rows": sum(sizes), "new_points": sum(more)}
    save(options.output / "plan.json", seconds=seconds, ratios=ratios, **sizes_of)
    return 0


def raised(sizes: list[int]) -> list[int]:
    """New points of each class: all are raised to one size, as far as the points go."""
    low, high = 0, max(sizes)
    while low < high:
        middle = (low + high) // 2
        if sum(max(0, middle - size) for size in sizes) < NEW_POINTS:
            low = middle + 1
        else:
            high = middle
    more = [max(0, low - size) for size in sizes]
    more[-1] -= sum(more) - NEW_POINTS
    return more


def imbalanced_learn(run: Any, more: list[int]) -> float:
    from imblearn.over_sampling import SMOTE

    from smotext_ray.tables import matrix

    table = run.table("embeddings").to_table(columns=["label", "embedding"])
    x, y = matrix(table["embedding"]), np.array(table["label"])
    labels, counts = np.unique(y, return_counts=True)
    wanted = {label: n + m for label, n, m in zip(labels, counts, more, strict=True) if m}
    started = time.monotonic()
    made, _ = SMOTE(sampling_strategy=wanted, k_neighbors=K, random_state=0).fit_resample(x, y)
    seconds = time.monotonic() - started
    assert len(made) == len(x) + NEW_POINTS
    return seconds


def faiss_search(run: Any) -> float:
    import faiss

    from smotext_ray.tables import matrix

    table = run.table("embeddings").to_table(columns=["id", "label", "embedding"])
    x, y, ids = matrix(table["embedding"]), np.array(table["label"]), np.array(table["id"])
    plan = run.table("plan").to_table(columns=["label", "source_id"])
    planned, sources = np.array(plan["label"]), np.array(plan["source_id"])
    classes = []
    for label in np.unique(planned):
        own = y == label
        drawn = np.isin(ids[own], sources[planned == label])
        classes.append((x[own][drawn], x[own]))
    started = time.monotonic()
    for queries, base in classes:
        faiss.knn(queries, base, K + 1, metric=faiss.METRIC_INNER_PRODUCT)
    return time.monotonic() - started


def plan_files(run: Any, more: list[int]) -> float:
    """The stage's files, made in this process."""
    from smotext_ray.pipeline.plan_files import PlanWriter, group_item
    from smotext_ray.plan.shards import shards
    from smotext_ray.run.manifest import Manifest

    manifest = Manifest.read(run)
    config = manifest.config
    lacking = {label: number for label, number in zip(manifest.labels, more, strict=True) if number}
    files = math.ceil(NEW_POINTS / config.resources.plan_points_per_file)
    groups = shards(lacking, 1, 0, math.ceil(NEW_POINTS / files))
    run.clear("plan")
    started = time.monotonic()
    write = PlanWriter(run, config)
    for number, group in enumerate(groups):
        write(**group_item(1, number, group))
    return time.monotonic() - started


def plan_stage(run: Any) -> float:
    """The stage, its actors included; the manifest is as it was afterwards."""
    from smotext_ray.pipeline import plan as plan_module
    from smotext_ray.run.manifest import Manifest

    run.clear("plan")
    manifest = Manifest.read(run)
    started = time.monotonic()
    plan_module.plan(manifest.config, run, manifest.model_copy(deep=True))
    seconds = time.monotonic() - started
    assert run.table("plan").count_rows() == NEW_POINTS
    manifest.save(run)
    return seconds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path, help="for the run")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
