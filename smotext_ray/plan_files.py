"""Plan files: read the rows of the classes, make their points, write each file whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from smotext_ray.class_rows import ClassReader
from smotext_ray.config import RunConfig
from smotext_ray.plan import KnownNeighbors, Shard, plan_shard, with_texts
from smotext_ray.run import Run
from smotext_ray.weights import sources_of


def group_item(run_round: int, number: int, group: list[Shard]) -> dict[str, str]:
    """A group of shards as a row for Ray Data."""
    return {
        "file": f"round-{run_round}/part-{number:05d}.parquet",
        "shards": json.dumps([asdict(shard) for shard in group]),
    }


class PlanWriter:
    """Writes the files of ``plan/``; holds the classes that it read last and their neighbours.

    Parameters
    ----------
    run : Run
    config : RunConfig
    weights : str, optional
        Directory of those that a variant of SMOTE needs.
    """

    def __init__(self, run: Run, config: RunConfig, weights: str | None = None) -> None:
        self._run, self._config = run, config
        self._reader = ClassReader(run)
        self._weights = run.table(weights) if weights else None
        self._known: dict[Any, KnownNeighbors] = {}

    def __call__(self, file: str, shards: str) -> tuple[str, int]:
        """Write a file, unless it is there, which it is only when whole.

        Returns
        -------
        sha256 : str
            Of the file.
        rows : int
        """
        if self._run.has("plan", file):
            content = self._run.read("plan", file)
            rows = pq.read_metadata(pa.BufferReader(content)).num_rows
            return hashlib.sha256(content).hexdigest(), rows
        group = [Shard(**shard) for shard in json.loads(shards)]
        table = with_texts(pa.concat_tables(self._tables(group)), self._reader.texts)
        sink = pa.BufferOutputStream()
        # No two points are alike: a dictionary of their numbers takes time and saves nothing.
        pq.write_table(table, sink, use_dictionary=["label"])
        content = sink.getvalue().to_pybytes()
        self._run.write(content, "plan", file)
        return hashlib.sha256(content).hexdigest(), len(table)

    def _tables(self, group: list[Shard]) -> list[pa.Table]:
        classes = self._reader([shard.label for shard in group])
        held = self._reader.held
        self._known = {label: self._known.get(label, KnownNeighbors()) for label in held}
        tables = []
        for rows, shard in zip(classes, group, strict=True):
            sources = None if self._weights is None else sources_of(self._weights, rows)
            known = self._known[shard.label]
            tables.append(plan_shard(rows, shard, self._config, sources=sources, known=known))
        return tables


def write_groups(
    run: Run, config: RunConfig, items: list[dict[str, str]], weights: str | None
) -> list[dict[str, str]]:
    """Write a file for each of `group_item`, in this process; rows of ``file`` and ``sha256``."""
    write = PlanWriter(run, config, weights)
    return [{"file": item["file"], "sha256": write(**item)[0]} for item in items]
