"""The result: the input's own rows, then the accepted samples, as one parquet table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.staging import original_columns
from smotext_ray.run.directory import Run, file_sha256
from smotext_ray.run.manifest import corpus_files
from smotext_ray.run.samples import usable_samples
from smotext_ray.tables import KEPT_OTHERS, RESULT_LINEAGE, _with_lineage

FILE = "augmented.parquet"
DIRECTORY = "augmented"
INPUT_SCHEMA = "input_schema.parquet"
LARGE = 1_000_000  # rows; from here on the result is a directory
ROWS_PER_FILE = 500_000


def write_input_schema(run: Run, schema: pa.Schema) -> None:
    """Keep the columns and types that the input had, as an empty parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    run.write(sink.getvalue().to_pybytes(), INPUT_SCHEMA)


def write_result(run: Run, manifest: dict[str, Any], wanted: dict[Any, int]) -> dict[str, Any]:
    """Write ``augmented.parquet``, or ``augmented/`` where it is large.

    Originals come first, with the input's own columns; then at most ``wanted[label]``
    accepted samples of each class, by rising sample id. The columns added are
    ``synthetic`` and the sample's lineage, null for originals. A run with epsilon has no
    originals to give.

    Parameters
    ----------
    run : Run
    manifest : dict
    wanted : dict
        Label to the number of new texts asked for.

    Returns
    -------
    dict
        ``path``, ``rows``, ``synthetic`` and ``sha256`` by file.
    """
    own = pq.read_schema(pa.BufferReader(run.read(INPUT_SCHEMA)))
    id_type = run.table("embeddings").schema.field("id").type
    mixed = manifest["config"]["plan"].get("neighbors_per_point", 1)  # older runs lack it
    schema = _with_lineage(own, id_type, mixed)
    total = manifest["input"]["rows"] + sum(wanted.values())
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
    return {
        "path": FILE if total < LARGE else DIRECTORY,
        "rows": rows,
        "synthetic": sum(synthetic for _, _, synthetic in files.values()),
        "sha256": {name: digest for name, (digest, _, _) in files.items()},
    }


def _input(manifest: dict[str, Any]) -> InputConfig:
    return InputConfig.model_validate(manifest["config"]["input"])


def _all_rows(
    run: Run,
    manifest: dict[str, Any],
    wanted: dict[Any, int],
    input_schema: pa.Schema,
    schema: pa.Schema,
) -> Iterator[pa.Table]:
    settings = _input(manifest)
    files = [] if "privacy" in manifest else corpus_files(run, manifest)
    for file in files:  # in the input's order
        with run.fs.open_input_file(file) as stream:
            table = pq.read_table(stream)
        own = original_columns(table, settings, input_schema)
        yield _filled(own.append_column("synthetic", pa.array([False] * len(own))), schema)
    rounds = [int(entry["round"]) for entry in manifest["rounds"]]
    used: Counter[Any] = Counter()
    for samples in usable_samples(run, rounds):
        samples = first_wanted(samples, used, wanted)
        renamed = {settings.text_column: samples["text"], settings.label_column: samples["label"]}
        lineage = [*RESULT_LINEAGE, *(name for name in KEPT_OTHERS if name in samples.column_names)]
        columns = {name: samples[name] for name in lineage} | renamed
        columns["synthetic"] = pa.array([True] * len(samples))
        yield _filled(pa.table(columns), schema)


def first_wanted(samples: pa.Table, used: Counter[Any], wanted: Mapping[Any, int]) -> pa.Table:
    """The samples that a class still lacks; ``used`` counts on."""
    keep = []
    for label in samples["label"].to_pylist():
        used[label] += 1
        keep.append(used[label] <= wanted.get(label, 0))
    return samples.filter(pa.array(keep, pa.bool_()))


def _filled(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the schema's columns; those it lacks are null."""
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
    """Write under another name and rename when whole; digest, rows, synthetic rows."""
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
