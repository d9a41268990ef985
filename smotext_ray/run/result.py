"""The result: the original rows followed by the accepted samples, as one parquet table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smotext_ray.corpus.plain import plain_type, restored
from smotext_ray.corpus.staging import original_columns, sampled_columns
from smotext_ray.corpus.survey import CorpusSummary
from smotext_ray.run.corpus_files import corpus_files
from smotext_ray.run.directory import Run, file_sha256
from smotext_ray.run.facts import Result
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.pandas_dtypes import with_pandas_dtypes
from smotext_ray.run.sample_weight import synthetic_weights
from smotext_ray.run.samples import accepted_unique_samples, label_counts, labels_of
from smotext_ray.run.text_lengths import WordCounts
from smotext_ray.tables import (
    KEPT_OTHERS,
    RESULT_LINEAGE,
    WEIGHT,
    label_pairs,
    label_value_type,
    result_schema,
)

FILE = "augmented.parquet"
DIRECTORY = "augmented"
PARTIAL = "_result"
INPUT_SCHEMA = "input_schema.parquet"
INPUT_CATEGORIES = "input_categories.parquet"
LARGE = 1_000_000  # rows; a larger result becomes a directory
ROWS_PER_FILE = 500_000


def write_input_schema(run: Run, survey: CorpusSummary) -> None:
    """Store the input's columns and types as an empty parquet file, and its categories in another.

    An empty dictionary has no values, so those are stored as one list per column. The values of a
    private corpus are not stored: `smotext_ray.corpus.staging.without_other_columns`.
    """
    lists = {
        name: pa.ListArray.from_arrays([0, len(values)], values)
        for name, values in survey.categories.items()
    }
    run.write(_parquet(pa.table(lists)), INPUT_CATEGORIES)
    columns = [restored(pa.array([], plain_type(kind)), kind) for kind in survey.schema.types]
    run.write(_parquet(pa.table(columns, schema=survey.schema)), INPUT_SCHEMA)


def read_input_schema(run: Run) -> tuple[pa.Schema, dict[str, pa.Array]]:
    """The input's schema, and the values of its dictionary columns in their order."""
    schema = pq.read_schema(pa.BufferReader(run.read(INPUT_SCHEMA)))
    if not run.has(INPUT_CATEGORIES):  # a run of an older version
        return schema, {}
    lists = pq.read_table(pa.BufferReader(run.read(INPUT_CATEGORIES)))
    return schema, {name: lists[name].chunk(0).flatten() for name in lists.column_names}


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def write_result(run: Run, manifest: Manifest, wanted: dict[Any, int]) -> Result:
    """Write ``augmented.parquet``, or ``augmented/`` if it is large.

    The old result stays until the new one is written.

    Originals come first, with the input's columns; then at most ``wanted[label]`` accepted samples
    of each class, sorted by sample id (if rows have several labels, a sample is added if one of its
    labels still lacks texts). Added columns are ``synthetic``, the sample's lineage, which is null
    for originals, and ``sample_weight``. With epsilon there are no originals.

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
    own, categories = read_input_schema(run)
    id_type = run.table("embeddings").schema.field("id").type
    mixed = manifest.config.plan.neighbors_per_point
    names = manifest.config.input
    complete = {names.text_column, *names.label_names}
    schema = with_pandas_dtypes(result_schema(own, id_type, mixed), complete)
    total = manifest.input.rows + sum(wanted.values())
    lengths, made = (WordCounts(), WordCounts()), _made(run, manifest, wanted)
    real = {} if manifest.is_private else manifest.class_counts
    weights = synthetic_weights(real, made)
    tables = _all_rows(run, manifest, wanted, categories, schema, lengths, weights)
    parts = {FILE: tables}.items() if total < LARGE else _named(_split(tables))
    run.clear(PARTIAL)
    files = {name: _write(run, f"{PARTIAL}/{name}", schema, part) for name, part in parts}
    _replace(run, list(files))
    rows = sum(count for _, count, _ in files.values())
    return Result(
        path=FILE if total < LARGE else DIRECTORY,
        rows=rows,
        synthetic=sum(synthetic for _, _, synthetic in files.values()),
        sha256={name: digest for name, (digest, _, _) in files.items()},
        synthetic_labels=dict(made) if manifest.is_multilabel else None,
        real_words=lengths[0].lengths(),
        synthetic_words=lengths[1].lengths(),
    )


def _all_rows(
    run: Run,
    manifest: Manifest,
    wanted: dict[Any, int],
    categories: dict[str, pa.Array],
    schema: pa.Schema,
    lengths: tuple[WordCounts, WordCounts],
    weights: Mapping[Any, float],
) -> Iterator[pa.Table]:
    """The rows of the result; counts the words of real and synthetic texts."""
    settings = manifest.config.input
    kind = label_value_type(run.table("embeddings").schema.field("label").type)
    raised = pa.array([k for k, n in wanted.items() if n], kind)
    own = pa.schema(list(schema)[: schema.get_field_index("synthetic")])
    files = [] if manifest.is_private else corpus_files(run, manifest)
    for file in files:  # in input order
        staged = run.read_table(file)
        rows, labels = label_pairs(staged["label"])
        grown = np.zeros(len(staged), bool)
        grown[rows[pc.is_in(labels, raised).to_numpy(zero_copy_only=False)]] = True
        lengths[0].add(staged.filter(pa.array(grown))["text"])
        table = original_columns(staged, settings, own, categories)
        table = table.append_column("synthetic", pa.array([False] * len(table)))
        yield _filled(_weighted(table, [1.0] * len(table)), schema)
    for samples in delivered_samples(run, manifest.round_numbers, wanted):
        lengths[1].add(samples["text"])
        new = sampled_columns(samples, settings, own, categories)
        lineage = [*RESULT_LINEAGE, *(name for name in KEPT_OTHERS if name in samples.column_names)]
        for name in lineage:
            new = new.append_column(name, samples[name])
        new = new.append_column("synthetic", pa.array([True] * len(new)))
        # So that no label's synthetic texts outvote its real ones.
        given = [min(weights[label] for label in labels) for labels in labels_of(samples)]
        yield _filled(_weighted(new, given), schema)


def _made(run: Run, manifest: Manifest, wanted: Mapping[Any, int]) -> dict[Any, int]:
    """Number of synthetic rows of each class, or with each label."""
    if not manifest.is_multilabel:
        got = manifest.accepted()
        return {label: min(got.get(label, 0), n) for label, n in wanted.items()}
    made: Counter[Any] = Counter()  # only the samples have all their labels
    for samples in delivered_samples(run, manifest.round_numbers, wanted):
        made.update(label_counts(samples))
    return made


def _weighted(table: pa.Table, weights: list[float]) -> pa.Table:
    if WEIGHT in table.column_names:
        return table
    return table.append_column(WEIGHT, pa.array(weights, pa.float32()))


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
    """The samples that one of their labels still needs; updates ``used``."""
    keep = []
    for labels in labels_of(samples):
        keep.append(any(used[label] < wanted.get(label, 0) for label in labels))
        if keep[-1]:
            used.update(labels)
    return samples.filter(pa.array(keep, pa.bool_()))


def _filled(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the schema's columns; missing ones are null."""
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _named(parts: Iterator[list[pa.Table]]) -> Iterator[tuple[str, Iterator[pa.Table]]]:
    for number, part in enumerate(parts):
        yield f"{DIRECTORY}/part-{number:05d}.parquet", iter(part)


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
    """Write a file; returns its digest, number of rows, and number of synthetic rows."""
    run.make(*name.split("/")[:-1])
    rows = synthetic = 0
    with (
        run.fs.open_output_stream(run.at(name)) as stream,
        pq.ParquetWriter(stream, schema) as writer,
    ):
        for table in tables:
            writer.write_table(table)
            rows += len(table)
            synthetic += pc.sum(table["synthetic"].cast(pa.int64())).as_py() or 0
    run.sync([run.at(name)])
    return file_sha256(run, name), rows, synthetic


def _replace(run: Run, files: list[str]) -> None:
    """Replace the old result, which stays in place until now, with the new one."""
    run.check_lease()
    if any(name != FILE for name in files):
        run.make(DIRECTORY)
    for name in files:
        run.fs.move(run.at(PARTIAL, name), run.at(name))
    run.sync([run.at(name) for name in files])
    run.clear(PARTIAL)
    # Remove the rest of the old result, which may have been larger or smaller.
    old = [FILE, *(f"{DIRECTORY}/{info.base_name}" for info in run.files(DIRECTORY))]
    for name in old:
        if name not in files and run.has(name):
            run.fs.delete_file(run.at(name))
    if FILE in files:
        run.clear(DIRECTORY)
