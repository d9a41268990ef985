"""The second pass over the input: write its valid rows to ``corpus/``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.column_types import is_string
from smotext_ray.corpus.digest import RowDigest
from smotext_ray.corpus.sources import read_blocks
from smotext_ray.corpus.survey import CorpusSummary, _decoded, _is_dictionary, _roles
from smotext_ray.corpus.validation import plain_column, read_ids, validate_rows
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
    The columns are ``id`` (int64 or string), ``text`` (string), ``label`` (string, integer, bool or
    float), then every other column of the input under ``extra.`` and its own name. Without an id
    column, ``id`` is the 0-based row number in the input, counting bad rows too, so that users can
    find the row.
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
    """The survey as if the input had only text and label, so that nothing else is staged."""
    names = (config.text_column, config.label_column)
    return replace(survey, schema=pa.schema([survey.schema.field(name) for name in names]))


def original_columns(table: pa.Table, config: InputConfig, schema: pa.Schema) -> pa.Table:
    """Convert staged rows back to the input's columns.

    Parameters
    ----------
    table : pyarrow.Table
        Staged rows.
    config : InputConfig
    schema : pyarrow.Schema
        ``CorpusSummary.schema``.

    Returns
    -------
    pyarrow.Table
        The input's columns with their original names, order and types, without a generated ``id``.
    """
    roles = _roles(config)
    columns = [
        _as(table.column(roles.get(name, EXTRA + name)), kind)
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.table(columns, schema=schema)


def _as(column: Any, kind: pa.DataType) -> Any:
    if column.type == kind:  # extension types cannot be cast, not even to themselves
        return column
    # Only strings can be cast to a dictionary directly.
    return column.dictionary_encode().cast(kind) if _is_dictionary(kind) else column.cast(kind)


def staged_rows(config: InputConfig, survey: CorpusSummary) -> Iterator[pa.Table]:
    """Yield the valid rows with the staged columns, block by block."""
    roles = _roles(config)
    label_type = _decoded(survey.schema.field(config.label_column).type)
    if is_string(label_type):
        label_type = pa.string()
    row = 0
    for block in read_blocks(config, survey.schema):
        try:
            text, label, verdict = validate_rows(block, config)
            columns = {
                "id": read_ids(block, config, row),
                "text": text,
                "label": label.cast(label_type),
            }
            for name, kind in zip(survey.schema.names, survey.schema.types, strict=True):
                if name not in roles:
                    columns[EXTRA + name] = _as(plain_column(block, name), _decoded(kind))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise _changed(config) from error
        row += block.table.num_rows
        yield pa.table(columns).filter(pa.array(verdict == 0))


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
    return UserError(f"{config.path} changed while it was read; run the command again.")
