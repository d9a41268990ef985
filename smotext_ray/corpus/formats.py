"""Stream a file as blocks of rows: parquet, csv, tsv and JSON lines.

csv is read without type inference: a column's type is known only after the whole input has been
read, and guessing from the first block could turn the label "01" into "1". JSON lines are parsed
row by row, because a number as text must be reported with its row instead of failing the block.
"""

from __future__ import annotations

import io
import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pyarrow import fs

from smotext_ray.config.schema import InputConfig
from smotext_ray.errors import UserError, one_line
from smotext_ray.utils.plain_types import check_plain_types

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}
BLOCK_ROWS = 8192
# A csv row must fit in a block, so this is also the longest possible row.
CSV_BLOCK_BYTES = 16 << 20
# Raised by pyarrow and the decompressors for damaged or unreachable files.
READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    lzma.LZMAError,
    pa.ArrowTypeError,
    pa.ArrowKeyError,
)


@dataclass(frozen=True)
class Block:
    """Some rows of the input, with its columns.

    Attributes
    ----------
    table : pyarrow.Table
    where : str
        The file's name, for messages.
    typed : bool
        False for csv, where every column is a string as written (an empty cell is null, except in
        the text column, where it is an empty text).
    not_text : pyarrow.BooleanArray or None
        Rows whose text was present but not a string; their text is null in the table.
    """

    table: pa.Table
    where: str
    typed: bool = True
    not_text: pa.BooleanArray | None = None


def split_ending(path: str) -> tuple[str | None, str | None]:
    """The format and compression indicated by a path's extension.

    Parameters
    ----------
    path : str

    Returns
    -------
    format : {'parquet', 'csv', 'tsv', 'jsonl'} or None
    compression : {'gzip', 'bz2', 'zstd', 'xz'} or None

    Examples
    --------
    >>> split_ending("corpus.csv.gz")
    ('csv', 'gzip')
    """
    name = path.lower()
    for ending, kind in FORMATS.items():
        if name.endswith(ending):
            return kind, None
        for packed, compression in COMPRESSIONS.items():
            if kind != "parquet" and name.endswith(ending + packed):
                return kind, compression
    if "?" in name:  # the query of an http URL
        return split_ending(name.partition("?")[0])
    return None, None


def read_file(
    filesystem: fs.FileSystem, path: str, config: InputConfig, types: pa.Schema | None
) -> Iterator[Block]:
    """Read one file as a stream of blocks.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    path : str
        Must have an extension known to ``split_ending``.
    config : InputConfig
        Names of the required columns.
    types : pyarrow.Schema or None
        The columns' types; without it csv columns stay strings and JSON types are inferred per
        block.

    Yields
    ------
    Block

    Raises
    ------
    UserError
        If the file cannot be read, is damaged, or lacks a column.
    """
    kind, compression = split_ending(path)
    try:
        if kind == "parquet":
            yield from _read_parquet(filesystem, path, config)
        elif kind == "jsonl":
            yield from _read_jsonl(filesystem, path, compression, config, types)
        else:
            delimiter = "," if kind == "csv" else "\t"
            yield from _read_csv(filesystem, path, compression, config, types, delimiter)
    except READ_ERRORS as error:
        raise UserError(_unreadable(path, kind, error)) from error


def require_columns(names: list[str], config: InputConfig, where: str) -> None:
    """Reject missing columns and duplicate column names.

    Parameters
    ----------
    names : list of str
        The existing columns.
    config : InputConfig
        Names of the required columns.
    where : str
        The file's name, for the message.

    Raises
    ------
    UserError
        The message lists the existing columns.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{where} has two columns named {twice[0]!r}; rename one of them.")
    asked = {"text": config.text_column, "label": config.label_column, "id": config.id_column}
    for role, name in asked.items():
        if name is not None and name not in names:
            listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise UserError(
                f"{where} has no column {name!r}; name one of its columns ({listed}) "
                f"with --{role}-column."
            )


def _read_parquet(filesystem: fs.FileSystem, path: str, config: InputConfig) -> Iterator[Block]:
    with filesystem.open_input_file(path) as handle, pq.ParquetFile(handle) as file:
        require_columns(file.schema_arrow.names, config, path)
        check_plain_types(file.schema_arrow, path)
        for batch in file.iter_batches(batch_size=BLOCK_ROWS):
            yield Block(pa.Table.from_batches([batch]), path)


def _read_csv(
    filesystem: fs.FileSystem,
    path: str,
    compression: str | None,
    config: InputConfig,
    types: pa.Schema | None,
    delimiter: str,
) -> Iterator[Block]:
    read = pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    # Types are passed by name, so the names are read first.
    with (
        _open(filesystem, path, compression) as stream,
        pyarrow.csv.open_csv(stream, read, parse) as reader,
    ):
        names = reader.schema.names
    require_columns(names, config, path)
    text_index = names.index(config.text_column)
    known = {} if types is None else {field.name: field.type for field in types}
    convert = pyarrow.csv.ConvertOptions(
        column_types={name: known.get(name, pa.string()) for name in names},
        # Only an empty cell is null: "NA" or "null" may be a class or a text.
        null_values=[""],
        strings_can_be_null=True,
    )
    with (
        _open(filesystem, path, compression) as stream,
        pyarrow.csv.open_csv(stream, read, parse, convert) as reader,
    ):
        for batch in reader:
            table = pa.Table.from_batches([batch])
            text = table.column(text_index).fill_null("")
            table = table.set_column(text_index, config.text_column, text)
            yield Block(table, path, typed=types is not None)


def _read_jsonl(
    filesystem: fs.FileSystem,
    path: str,
    compression: str | None,
    config: InputConfig,
    types: pa.Schema | None,
) -> Iterator[Block]:
    rows: list[dict[str, Any]] = []
    with _open(filesystem, path, compression) as stream:
        lines = stream if isinstance(stream, lzma.LZMAFile) else io.BufferedReader(stream, 1 << 20)
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            rows.append(_parse_line(line, number, path))
            if len(rows) == BLOCK_ROWS:
                yield _json_block(rows, path, config, types)
                rows = []
    if rows:
        yield _json_block(rows, path, config, types)


def _parse_line(line: bytes, number: int, path: str) -> dict[str, Any]:
    try:
        # A byte order mark is not valid JSON, but some editors write one.
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"Line {number} of {path} is not UTF-8; convert the file.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"Line {number} of {path} is not JSON ({one_line(error)}); "
            "write one complete object per line."
        ) from error
    if not isinstance(row, dict):
        raise UserError(
            f"Line {number} of {path} is not a JSON object; write one object per line "
            "(for a list, use jq -c '.[]')."
        )
    return row


def _json_block(
    rows: list[dict[str, Any]], path: str, config: InputConfig, types: pa.Schema | None
) -> Block:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    not_text = None
    for name in names:
        values = [row.get(name) for row in rows]
        if name == config.text_column:
            good = [value if _is_text(value) else None for value in values]
            pairs = zip(values, good, strict=True)
            not_text = pa.array([a is not None and b is None for a, b in pairs], pa.bool_())
            columns[name] = pa.array(good, pa.string())
            continue
        known = None if types is None or name not in types.names else types.field(name).type
        try:
            columns[name] = pa.array(values, known)
        # ArrowTypeError is a TypeError, ArrowInvalid and Unicode errors are ValueErrors.
        except (TypeError, ValueError, OverflowError, NotImplementedError) as error:
            raise UserError(
                f"The column {name!r} of {path} has values of incompatible types "
                f"({one_line(error)}); give it one type or drop it."
            ) from error
    return Block(pa.table(columns), path, not_text=not_text)


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        # JSON can contain half of a surrogate pair, which is not a character.
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _open(filesystem: fs.FileSystem, path: str, compression: str | None) -> Any:
    if compression == "xz":  # not supported by pyarrow
        return lzma.LZMAFile(filesystem.open_input_stream(path, compression=None))
    return filesystem.open_input_stream(path, compression=compression)


def _unreadable(path: str, kind: str | None, error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return f"{path} is not readable by this user; change its permissions."
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist; check the path."
    if "UTF8" in str(error):
        return f"{path} is not UTF-8; convert it, for example with iconv -f latin1 -t utf-8."
    return (
        f"{path} cannot be read as {kind} ({one_line(error)}); "
        "the file may be truncated; regenerate it."
    )
