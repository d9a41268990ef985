"""One plan file: read the rows of its classes, make their points, write them whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smotext_ray.config import RunConfig
from smotext_ray.plan import Shard, plan_class
from smotext_ray.run import Run


def group_item(run_round: int, number: int, group: list[Shard]) -> dict[str, str]:
    """A group of shards as a row for Ray Data."""
    return {
        "file": f"round-{run_round}/part-{number:05d}.parquet",
        "shards": json.dumps([asdict(shard) for shard in group]),
    }


def write_group(run: Run, config: RunConfig, file: str, shards: str) -> tuple[str, int]:
    """Write ``plan/<file>`` unless it is there.

    The file appears under its name only when it is whole, so one that is there needs
    not be made again.

    Returns
    -------
    sha256 : str
        Of the file.
    rows : int
    """
    if run.has("plan", file):
        content = run.read("plan", file)
        return hashlib.sha256(content).hexdigest(), pq.read_metadata(
            pa.BufferReader(content)
        ).num_rows
    table = pa.concat_tables(_tables(run, config, [Shard(**s) for s in json.loads(shards)]))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content = sink.getvalue().to_pybytes()
    run.write(content, "plan", file)
    return hashlib.sha256(content).hexdigest(), len(table)


def _tables(run: Run, config: RunConfig, shards: list[Shard]) -> list[pa.Table]:
    embeddings = run.table("embeddings")
    # A run with epsilon has no texts here.
    columns = [
        name for name in ("id", "text", "label", "embedding") if name in embeddings.schema.names
    ]
    labels = pa.array([shard.label for shard in shards], embeddings.schema.field("label").type)
    rows = embeddings.to_table(columns=columns, filter=pc.field("label").isin(labels))
    tables: list[pa.Table] = []
    for shard in shards:
        own: Any = pc.equal(rows["label"], pa.scalar(shard.label, labels.type))
        tables.append(
            plan_class(
                rows.filter(own),
                shard,
                config.plan.seed,
                config.neighbors.k_neighbors,
                config.neighbors.metric,
                config.plan.interpolation,
                config.encoder.normalize,
            )
        )
    return tables
