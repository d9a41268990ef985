"""Plans of the controls: the run's plan with one thing changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smotext_ray.run.directory import Run
from smotext_ray.tables import OTHERS, fixed_size_list, matrix

OF_THE_VECTOR = ("source_id", "neighbor_id", "lam", "source_text", "neighbor_text", "point")


def write_plan(run: Run, name: str, files: Sequence[str], seed: int) -> None:
    """Write ``controls/<name>/plan``, one file for each of the run's plan files.

    Existing files are complete and are kept. Plan files are processed one at a time, except for
    ``shuffled``, which needs all points in memory.

    Parameters
    ----------
    run : Run
    name : {"shuffled", "lam_0", "class_mean", "label_only", "parents_as_text"}
    files : sequence of str
        All files of the decoded rounds, relative to ``plan/``.
    seed : int
        The run's seed, used for shuffling.
    """
    changes = {
        "shuffled": _shuffling,
        "lam_0": _to_sources,
        "class_mean": _to_means,
        "label_only": _to_nothing,
        "parents_as_text": _unchanged,
    }
    change = changes[name](run, files, seed)
    for file in files:
        place = ("controls", name, "plan", file.replace("/", "-"))
        if run.has(*place):
            continue
        sink = pa.BufferOutputStream()
        pq.write_table(change(_read(run, file)), sink)
        run.write(sink.getvalue().to_pybytes(), *place)


def derangement(n: int, seed: int) -> np.ndarray:
    """A random permutation of n slots without fixed points: a single cycle through all.

    Parameters
    ----------
    n : int, at least 2
    seed : int

    Returns
    -------
    ndarray of int64, shape (n,)
        A permutation without fixed points.
    """
    order = np.random.default_rng([seed, n]).permutation(n)
    giver = np.empty(n, np.int64)
    giver[order] = np.roll(order, 1)
    return giver


def with_vectors_of(slots: pa.Table, givers: pa.Table) -> pa.Table:
    """Rows that keep their own label, seed and id, and take everything else from ``givers``."""
    return _replaced(slots, {column: givers[column] for column in _of_the_vector(slots)})


def at_sources(plan: pa.Table, ids: pa.ChunkedArray, embeddings: pa.ChunkedArray) -> pa.Table:
    """The plan with lam = 0: each point is exactly the embedding of its source.

    Parameters
    ----------
    plan : pyarrow.Table
    ids, embeddings : pyarrow.ChunkedArray
        Ids and embeddings of corpus rows, including all sources.
    """
    rows = pc.index_in(plan["source_id"], value_set=ids.combine_chunks())
    changed = {"lam": pa.array(np.zeros(len(plan), np.float32)), "point": embeddings.take(rows)}
    if "other_lams" in plan.column_names:
        lams = plan["other_lams"].combine_chunks()
        zeros = pa.array(np.zeros(len(lams.values), np.float32))
        changed["other_lams"] = pa.ListArray.from_arrays(lams.offsets, zeros)
    return _replaced(plan, changed)


def at_means(plan: pa.Table, means: Mapping[Any, np.ndarray]) -> pa.Table:
    """The plan with every point at the mean of its class."""
    points = np.stack([means[label] for label in plan["label"].to_pylist()])
    return _replaced(plan, {"point": fixed_size_list(points)})


def without_vectors(plan: pa.Table) -> pa.Table:
    """The plan's ids, labels and seeds, without parents and with zero points."""
    absent = {name: pa.nulls(len(plan), plan[name].type) for name in _of_the_vector(plan)}
    width = plan.schema.field("point").type.list_size
    return _replaced(plan, absent | {"point": fixed_size_list(np.zeros((len(plan), width)))})


def _of_the_vector(plan: pa.Table) -> list[str]:
    return [*OF_THE_VECTOR, *(name for name in OTHERS if name in plan.column_names)]


Change = Callable[[pa.Table], pa.Table]


def _shuffling(run: Run, files: Sequence[str], seed: int) -> Change:
    # Sorted by sample id, so that the shuffle does not depend on how the plan is split into files.
    points = pa.concat_tables([_read(run, file) for file in files]).sort_by("sample_id")
    giver = derangement(len(points), seed)
    ids = points["sample_id"].to_numpy()

    def change(plan: pa.Table) -> pa.Table:
        slots = np.searchsorted(ids, plan["sample_id"].to_numpy())
        return with_vectors_of(plan, points.take(giver[slots]))

    return change


def _to_sources(run: Run, files: Sequence[str], seed: int) -> Change:
    def change(plan: pa.Table) -> pa.Table:
        wanted = pc.field("id").isin(plan["source_id"].unique())
        rows = run.table("embeddings").to_table(columns=["id", "embedding"], filter=wanted)
        return at_sources(plan, rows["id"], rows["embedding"])

    return change


def _to_means(run: Run, files: Sequence[str], seed: int) -> Change:
    sums: dict[Any, np.ndarray] = {}
    lengths: list[float] = []
    for file in files:
        plan = _read(run, file)
        points = matrix(plan["point"]).astype(np.float64)
        lengths += np.linalg.norm(points, axis=1).tolist()
        for label, point in zip(plan["label"].to_pylist(), points, strict=True):
            sums[label] = sums.get(label, 0.0) + point
    length = float(np.mean(lengths))
    means = {label: length * total / np.linalg.norm(total) for label, total in sums.items()}
    return lambda plan: at_means(plan, means)


def _to_nothing(run: Run, files: Sequence[str], seed: int) -> Change:
    return without_vectors


def _unchanged(run: Run, files: Sequence[str], seed: int) -> Change:
    return lambda plan: plan


def _read(run: Run, file: str) -> pa.Table:
    return run.read_table(run.at("plan", file))


def _replaced(plan: pa.Table, columns: Mapping[str, Any]) -> pa.Table:
    return pa.table(
        {name: columns.get(name, plan[name]) for name in plan.column_names}, schema=plan.schema
    )
