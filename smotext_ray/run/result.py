"""The result: the original rows followed by the accepted samples, as one parquet table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smotext_ray.corpus.staging import original_columns
from smotext_ray.run.corpus_files import corpus_files
from smotext_ray.run.directory import Run, file_sha256
from smotext_ray.run.facts import Result
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.samples import accepted_unique_samples
from smotext_ray.tables import KEPT_OTHERS, RESULT_LINEAGE, result_schema

FILE = "augmented.parquet"
DIRECTORY = "augmented"
INPUT_SCHEMA = "input_schema.parquet"
LARGE = 1_000_000  # rows; a larger result becomes a directory
ROWS_PER_FILE = 500_000


def write_input_schema(run: Run, schema: pa.Schema) -> None:
    """Store the input's columns and types as an empty parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    run.write(sink.getvalue().to_pybytes(), INPUT_SCHEMA)


def write_result(run: Run, manifest: Manifest, wanted: dict[Any, int]) -> Result:
    """Write ``augmented.parquet``, or ``augmented/`` if it is large.

    Originals come first, with the input's columns; then at most ``wanted[label]`` accepted samples
    of each class, sorted by sample id. Added columns are ``synthetic`` and the sample's lineage,
    null for originals. With epsilon there are no originals.

    Parameters
    ----------
    run : Run
    manifest : Manifest
    wanted : dict
        Label to the number of requested texts.

    Returns
    -------
    Result
    """
    own = pq.read_schema(pa.BufferReader(run.read(INPUT_SCHEMA)))
    id_type = run.table("embeddings").schema.field("id").type
    mixed = manifest.config.plan.neighbors_per_point
    schema = result_schema(own, id_type, mixed)
    total = manifest.input.rows + sum(wanted.values())
    run.clear(DIRECTORY)
    if total < LARGE:
        files = {FILE: _write(run, FILE, schema, _all_rows(run, manifest, wanted, own, schema))}
    else:
        run.make(DIRECTORY)
        files = {}
        for number, tables in enumerate(_split(_all_rows(run, manifest, wanted, own, schema))):
            name = f"{DIRECTORY}/part-{number:05d}.parquet"
            files[name] = _write(run, name, schema, iter(tables))
    rows = sum(count for _, count, _ in files.values())
    return Result(
        path=FILE if total < LARGE else DIRECTORY,
        rows=rows,
        synthetic=sum(synthetic for _, _, synthetic in files.values()),
        sha256={name: digest for name, (digest, _, _) in files.items()},
    )


def _all_rows(
    run: Run,
    manifest: Manifest,
    wanted: dict[Any, int],
    input_schema: pa.Schema,
    schema: pa.Schema,
) -> Iterator[pa.Table]:
    settings = manifest.config.input
    files = [] if manifest.is_private else corpus_files(run, manifest)
    for file in files:  # in input order
        own = original_columns(run.read_table(file), settings, input_schema)
        yield _filled(own.append_column("synthetic", pa.array([False] * len(own))), schema)
    for samples in delivered_samples(run, manifest.round_numbers, wanted):
        renamed = {settings.text_column: samples["text"], settings.label_column: samples["label"]}
        lineage = [*RESULT_LINEAGE, *(name for name in KEPT_OTHERS if name in samples.column_names)]
        columns = {name: samples[name] for name in lineage} | renamed
        columns["synthetic"] = pa.array([True] * len(samples))
        yield _filled(pa.table(columns), schema)


def delivered_samples(run: Run, rounds: list[int], wanted: Mapping[Any, int]) -> Iterator[pa.Table]:
    """The synthetic rows of the result, as a table of samples per round.

    Parameters
    ----------
    run : Run
    rounds : list of int
        Decoded rounds.
    wanted : mapping
        Label to the number of requested texts.
    """
    used: Counter[Any] = Counter()
    for samples in accepted_unique_samples(run, rounds):
        yield up_to_target(samples, used, wanted)


def up_to_target(samples: pa.Table, used: Counter[Any], wanted: Mapping[Any, int]) -> pa.Table:
    """The samples that a class still needs; updates ``used``."""
    keep = []
    for label in samples["label"].to_pylist():
        used[label] += 1
        keep.append(used[label] <= wanted.get(label, 0))
    return samples.filter(pa.array(keep, pa.bool_()))


def _filled(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the schema's columns; missing ones are null."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _split(tables: Iterator[pa.Table]) -> Iterator[list[pa.Table]]:
    part: list[pa.Table] = []
    rows = 0
    for table in tables:
        part.append(table)
        rows += len(table)
        if rows >= ROWS_PER_FILE:
            yield part
            part, rows = [], 0
    if part:
        yield part


def _write(
    run: Run, name: str, schema: pa.Schema, tables: Iterator[pa.Table]
) -> tuple[str, int, int]:
    """Write under a temporary name, then rename; returns digest, rows, synthetic rows."""
    partial = run.at(f"{name}.partial")
    rows = synthetic = 0
    with (
        run.fs.open_output_stream(partial) as stream,
        pq.ParquetWriter(stream, schema) as writer,
    ):
        for table in tables:
            writer.write_table(table)
            rows += len(table)
            synthetic += pc.sum(table["synthetic"].cast(pa.int64())).as_py() or 0
    run.fs.move(partial, run.at(name))
    return file_sha256(run, name), rows, synthetic
