"""Stream a file as blocks of rows: parquet, csv, tsv, JSON lines and Excel."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus import blocks
from smotext_ray.corpus.blocks import Block, asked_columns, require_columns
from smotext_ray.corpus.csv_files import read_csv
from smotext_ray.corpus.excel import read_excel
from smotext_ray.corpus.json_lines import read_json_lines
from smotext_ray.corpus.text_files import find_encoding, not_in_encoding
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
    ".xlsx": "excel",
}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}
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
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def split_ending(path: str) -> tuple[str | None, str | None]:
    """The format and compression indicated by a path's extension.

    Parameters
    ----------
    path : str

    Returns
    -------
    format : {'parquet', 'csv', 'tsv', 'jsonl', 'excel'} or None
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
            if kind not in ("parquet", "excel") and name.endswith(ending + packed):
                return kind, compression
    if "?" in name:  # the query of an http URL
        return split_ending(name.partition("?")[0])
    return None, None


def path_values(path: str, root: str) -> dict[str, str | None]:
    """The columns given by the ``key=value`` directories between an input and its file.

    Examples
    --------
    >>> path_values("/corpus/year=2024/label=good%20news/a.parquet", "/corpus")
    {'year': '2024', 'label': 'good news'}
    """
    below = path.removeprefix(root).strip("/").split("/")[:-1]
    pairs = (part.partition("=") for part in below if "=" in part)
    return {
        unquote(key): None if value == NO_VALUE else unquote(value)
        for key, _, value in pairs
        if key
    }


def read_file(
    filesystem: fs.FileSystem,
    path: str,
    config: InputConfig,
    types: pa.Schema | None,
    root: str | None = None,
) -> Iterator[Block]:
    """Read one file as a stream of blocks.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    path : str
        Must have an extension known to ``split_ending``, unless ``config.format`` is set.
    config : InputConfig
        Names of the required columns.
    types : pyarrow.Schema or None
        The columns' types; without it JSON types are inferred per block.
    root : str, optional
        The directory below which ``key=value`` directories are columns.

    Yields
    ------
    Block

    Raises
    ------
    UserError
        If the file cannot be read, is damaged, or lacks a column.
    """
    kind = split_ending(path)[0] or config.format
    told = path_values(path, path.rpartition("/")[0] if root is None else root)
    own = _without(config, told)
    try:
        if kind == "parquet":
            read = _read_parquet(filesystem, path, own)
        elif kind == "excel":
            read = read_excel(filesystem, path, own, types)
        elif kind == "jsonl":
            read = read_json_lines(filesystem, path, own, types)
        else:
            read = read_csv(filesystem, path, own, "," if kind == "csv" else "\t")
        for block in read:
            yield _with_path(block, told)
    except UnicodeDecodeError as error:
        encoding = find_encoding(filesystem, path, config.encoding)
        raise UserError(not_in_encoding(filesystem, path, encoding)) from error
    except READ_ERRORS as error:
        raise UserError(_unreadable(filesystem, path, kind, config, error)) from error


def _without(config: InputConfig, told: dict[str, str | None]) -> InputConfig:
    """The settings for a file that need not have the columns of its path."""
    own = {role: name for role, name in asked_columns(config).items() if name not in told}
    if not told or len(own) == len(asked_columns(config)):
        return config
    some = next(iter(own.values()), None)
    if some is None:
        return config
    # A column of the file stands in for the one from the path.
    names = {role: own.get(role, some) for role in ("text", "label")}
    return config.model_copy(
        update={
            "text_column": names["text"],
            "label_column": names["label"],
            "label_columns": tuple(n for n in config.label_columns or () if n not in told) or None,
            "id_column": own.get("id"),
        }
    )


def _with_path(block: Block, told: dict[str, str | None]) -> Block:
    """The block with the columns from its path, unless the file itself has them."""
    table = block.table
    new = {name: value for name, value in told.items() if name not in table.column_names}
    for name, value in new.items():
        table = table.append_column(name, pa.array([value] * len(table), pa.string()))
    return replace(block, table=table, written=block.written | new.keys()) if new else block


def _read_parquet(filesystem: fs.FileSystem, path: str, config: InputConfig) -> Iterator[Block]:
    with filesystem.open_input_file(path) as handle, pq.ParquetFile(handle) as file:
        check_plain_types(file.schema_arrow, path)
        paths = _struct_paths(file.schema_arrow, config)
        require_columns([*file.schema_arrow.names, *paths], config, path)
        for batch in file.iter_batches(batch_size=blocks.BLOCK_ROWS):
            yield with_struct_paths(Block(pa.Table.from_batches([batch]), path), config)


def with_struct_paths(block: Block, config: InputConfig) -> Block:
    """The block with a separate column for each required one that is a path into a struct."""
    table = block.table
    for name in _struct_paths(table.schema, config):
        column, *inner = name.split(".")
        values = table[column]
        for key in inner:
            values = pc.struct_field(values, key)
        table = table.append_column(name, values)
    return replace(block, table=table)


def _struct_paths(schema: pa.Schema, config: InputConfig) -> list[str]:
    return [
        name
        for name in dict.fromkeys(asked_columns(config).values())
        if name not in schema.names and _leads(schema, name.split("."))
    ]


def _leads(schema: pa.Schema, keys: list[str]) -> bool:
    """Whether a path leads to a field of a struct."""
    if len(keys) < 2 or schema.get_field_index(keys[0]) < 0:
        return False
    kind = schema.field(keys[0]).type
    for key in keys[1:]:
        if not pa.types.is_struct(kind) or kind.get_field_index(key) < 0:
            return False
        kind = kind.field(key).type
    return True


def _unreadable(
    filesystem: fs.FileSystem,
    path: str,
    kind: str | None,
    config: InputConfig,
    error: BaseException,
) -> str:
    if isinstance(error, PermissionError):
        return f"{path} is not readable by this user; change its permissions."
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist; check the path."
    if kind in ("csv", "tsv", "jsonl") and "UTF8" in str(error):
        encoding = find_encoding(filesystem, path, config.encoding)
        return not_in_encoding(filesystem, path, encoding)
    # pyarrow's messages about csv quote rows of the corpus.
    detail = f" ({one_line(error)})" if kind == "parquet" or isinstance(error, OSError) else ""
    return f"{path} cannot be read as {kind}{detail}; the file may be truncated; regenerate it."
