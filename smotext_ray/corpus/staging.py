"""The second pass over the input: write its valid rows to ``corpus/``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.column_types import is_string
from smotext_ray.corpus.conversion import converted
from smotext_ray.corpus.digest import RowDigest
from smotext_ray.corpus.label_sets import has_label_sets, label_columns, staged_label_type
from smotext_ray.corpus.plain import in_categories, plain_type, restored
from smotext_ray.corpus.sources import read_blocks
from smotext_ray.corpus.survey import CorpusSummary, roles
from smotext_ray.corpus.validation import read_ids, validate_rows
from smotext_ray.errors import UserError

EXTRA = "extra."


def stage_corpus(
    config: InputConfig,
    survey: CorpusSummary,
    filesystem: fs.FileSystem,
    directory: str,
    rows_per_file: int = 10_000,
) -> None:
    """Write the valid rows as parquet files ``part-00000.parquet``, ...

    Staging is complete only when this returns: if killed, it leaves some of the files, and the next
    call rewrites them.

    Parameters
    ----------
    config : InputConfig
    survey : CorpusSummary
        Survey of the same input.
    filesystem : pyarrow.fs.FileSystem
    directory : str
        Existing parquet files ``part-*`` in it are replaced.
    rows_per_file : int, default=10_000

    Raises
    ------
    UserError
        If the input has changed since the survey.

    Notes
    -----
    The columns are ``id`` (int64 or string), ``text`` (string), ``label`` (string, integer or
    bool; a list if rows have several), then every other column of the input as ``extra.`` plus its
    own name, including the label columns if there are several labels. Without an id column, ``id``
    is the 0-based row number in the input, counting bad rows too, so that users can find the row.
    """
    filesystem.create_dir(directory, recursive=True)
    for info in filesystem.get_file_info(fs.FileSelector(directory, allow_not_found=True)):
        if info.base_name.startswith("part-") and info.base_name.endswith(".parquet"):
            filesystem.delete_file(info.path)
    written, digest = 0, RowDigest()
    for number, table in enumerate(regrouped(staged_rows(config, survey), rows_per_file)):
        digest.add(written, table["text"], table["label"])
        pq.write_table(table, f"{directory}/part-{number:05d}.parquet", filesystem=filesystem)
        written += table.num_rows
    if written != survey.rows or digest.of_labels() != survey.digest:
        raise _changed(config)


def without_other_columns(survey: CorpusSummary, config: InputConfig) -> CorpusSummary:
    """The survey as if the input had only text and label, so that nothing else is staged.

    Both are plain columns without metadata, because dictionary values would be texts.
    """
    kind = plain_type(survey.schema.field(config.label_column).type)
    kinds = {config.text_column: pa.string(), config.label_column: kind}
    return replace(survey, schema=pa.schema(list(kinds.items())), categories={})


def original_columns(
    table: pa.Table,
    config: InputConfig,
    schema: pa.Schema,
    categories: Mapping[str, pa.Array] | None = None,
) -> pa.Table:
    """Convert staged rows back to the input's columns.

    Parameters
    ----------
    table : pyarrow.Table
        Staged rows; a missing column is null.
    config : InputConfig
    schema : pyarrow.Schema
        ``CorpusSummary.schema``.
    categories : mapping of str to pyarrow.Array, optional
        ``CorpusSummary.categories``.

    Returns
    -------
    pyarrow.Table
        The input's columns with their original names, order and types, without a generated ``id``.
    """
    staged = roles(config, has_label_sets(config, schema))
    columns = []
    for field in schema:
        name = staged.get(field.name, EXTRA + field.name)
        if name not in table.column_names:
            columns.append(pa.nulls(len(table), field.type))
            continue
        known = (categories or {}).get(field.name)
        chunks = []
        for chunk in table.column(name).chunks:
            if known is None:
                chunks.append(restored(chunk, field.type))
            else:
                chunks.append(in_categories(chunk, field.type, known))
        columns.append(pa.chunked_array(chunks, field.type))
    return pa.table(columns, schema=schema)


def sampled_columns(
    samples: pa.Table,
    config: InputConfig,
    schema: pa.Schema,
    categories: Mapping[str, pa.Array] | None = None,
) -> pa.Table:
    """Texts of samples and their labels as rows of the input; its other columns are null.

    Parameters
    ----------
    samples : pyarrow.Table
        ``text``, and ``label`` or, if rows have several, ``labels``.
    config, schema, categories
        As in `original_columns`.
    """
    if "labels" not in samples.column_names:
        table = samples.select(["text", "label"])
    else:
        table = samples.select(["text"])
        written = label_columns(samples["labels"].combine_chunks(), config, schema)
        for name, column in written.items():
            table = table.append_column(EXTRA + name, column)
    return original_columns(table, config, schema, categories)


def staged_rows(
    config: InputConfig, survey: CorpusSummary, labels: pa.DataType | None = None
) -> Iterator[pa.Table]:
    """Yield the valid rows with the staged columns, block by block.

    Parameters
    ----------
    config : InputConfig
    survey : CorpusSummary
    labels : pyarrow.DataType, optional
        Type of the labels, if not the one that follows from the survey.
    """
    staged = roles(config, has_label_sets(config, survey.schema))
    labels = labels or staged_label_type(config, survey.schema)
    row = 0
    for block in read_blocks(config, survey.schema):
        text, label, verdict = validate_rows(block, config)
        ids = read_ids(block, config, row)
        try:
            # Every conversion has been tried in the survey.
            columns = {"id": ids.cast(_id_type(config, survey)), "text": text}
            good = pa.array(verdict == 0)
            columns["label"] = _cast_where(label, labels, good)
            for field in survey.schema:
                if field.name not in staged:
                    columns[EXTRA + field.name] = converted(block, field.name, field.type)
        except (UserError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise _changed(config) from error
        row += block.table.num_rows
        yield pa.table(columns).filter(good)


def _cast_where(labels: pa.Array, kind: pa.DataType, good: pa.Array) -> pa.Array:
    """The labels in type ``kind``; those of unusable rows, which may not fit, are null."""
    return pc.if_else(good, labels, pa.scalar(None, labels.type)).cast(kind)


def _id_type(config: InputConfig, survey: CorpusSummary) -> pa.DataType:
    if config.id_column is None:
        return pa.int64()
    is_text = is_string(survey.schema.field(config.id_column).type)
    return pa.string() if is_text else pa.int64()


def regrouped(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Regroup rows into tables of ``rows`` rows; the last one may be smaller."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += table.num_rows
        if count < rows:
            continue
        whole = pa.concat_tables(held)
        start = 0
        while count - start >= rows:
            yield whole.slice(start, rows)
            start += rows
        held, count = [whole.slice(start)], count - start
    if count:
        yield pa.concat_tables(held)


def _changed(config: InputConfig) -> UserError:
    return UserError(f"{config.shown} changed while it was read; run the command again.")
