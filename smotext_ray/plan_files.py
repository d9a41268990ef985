"""One plan file: read the rows of its classes, make their points, write them whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from smotext_ray.class_rows import ClassReader
from smotext_ray.config import RunConfig
from smotext_ray.plan import Shard, plan_shard, with_texts
from smotext_ray.run import Run
from smotext_ray.weights import sources_of


def group_item(run_round: int, number: int, group: list[Shard]) -> dict[str, str]:
    """A group of shards as a row for Ray Data."""
    return {
        "file": f"round-{run_round}/part-{number:05d}.parquet",
        "shards": json.dumps([asdict(shard) for shard in group]),
    }


def write_groups(
    run: Run, config: RunConfig, items: list[dict[str, str]], weights: str | None
) -> list[dict[str, str]]:
    """Write a file for each of `group_item`, in this process; rows of ``file`` and ``sha256``.

    ``weights`` is the directory of those that a variant of SMOTE needs.
    """
    reader = ClassReader(run)
    of_sources = run.table(weights) if weights else None
    return [
        {
            "file": item["file"],
            "sha256": write_group(run, config, **item, reader=reader, weights=of_sources)[0],
        }
        for item in items
    ]


def write_group(
    run: Run,
    config: RunConfig,
    file: str,
    shards: str,
    reader: ClassReader | None = None,
    weights: ds.Dataset | None = None,
) -> tuple[str, int]:
    """Write ``plan/<file>`` unless it is there.

    The file appears under its name only when it is whole, so one that is there needs
    not be made again. ``reader`` is for a caller who writes more than one; ``weights`` are
    those of a variant of SMOTE.

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
    group = [Shard(**shard) for shard in json.loads(shards)]
    reader = reader or ClassReader(run)
    classes = reader([shard.label for shard in group])
    tables = []
    for rows, shard in zip(classes, group, strict=True):
        sources = None if weights is None else sources_of(weights, rows)
        tables.append(plan_shard(rows, shard, config, sources=sources))
    table = with_texts(pa.concat_tables(tables), reader.texts)
    sink = pa.BufferOutputStream()
    # No two points are alike: a dictionary of their numbers takes time and saves nothing.
    pq.write_table(table, sink, use_dictionary=["label"])
    content = sink.getvalue().to_pybytes()
    run.write(content, "plan", file)
    return hashlib.sha256(content).hexdigest(), len(table)
