"""Stream a file of JSON lines as blocks.

Rows are parsed one by one, because a number as text must be reported with its row instead of
failing the block.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyarrow import fs

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus import blocks
from smotext_ray.corpus.blocks import Block, asked_columns
from smotext_ray.corpus.text_files import UTF8, buffered, find_encoding, open_bytes
from smotext_ray.errors import UserError, one_line
from smotext_ray.utils.unique_keys import KeyTwice, unique_keys


def read_json_lines(
    filesystem: fs.FileSystem, path: str, config: InputConfig, types: pa.Schema | None
) -> Iterator[Block]:
    """Read one file as a stream of blocks.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    path : str
    config : InputConfig
    types : pyarrow.Schema or None
        The columns' types; without it they are inferred per block.

    Yields
    ------
    Block
    """
    encoding = find_encoding(filesystem, path, config.encoding)
    rows: list[dict[str, Any]] = []
    with open_bytes(filesystem, path) as stream:
        lines: Any = buffered(stream)
        if encoding != UTF8:
            lines = io.TextIOWrapper(lines, encoding, newline="\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            rows.append(_parse_line(line, number, path))
            if len(rows) == blocks.BLOCK_ROWS:
                yield block_of_rows(rows, path, config, types)
                rows = []
    if rows:
        yield block_of_rows(rows, path, config, types)


def _parse_line(line: bytes | str, number: int, path: str) -> dict[str, Any]:
    if isinstance(line, bytes):
        # A byte order mark is not valid JSON, but some editors write one.
        line = line.decode("utf-8-sig" if number == 1 else "utf-8")
    try:
        row = json.loads(line, object_pairs_hook=unique_keys)
    except KeyTwice as error:
        raise UserError(
            f"Line {number} of {path} has the key {error.args[0]!r} twice in one object; "
            "rename one of them."
        ) from None
    except (ValueError, RecursionError) as error:
        if number == 1 and line.lstrip().startswith(("[", "{")):
            raise UserError(
                f"Line 1 of {path} is not JSON by itself; write one complete object per line, for "
                "example with jq -c '.[]'."
            ) from None
        raise UserError(
            f"Line {number} of {path} is not JSON ({one_line(error)}); "
            "write one complete object per line."
        ) from None
    if not isinstance(row, dict):
        raise UserError(
            f"Line {number} of {path} is not a JSON object; write one object per line "
            "(for a list, use jq -c '.[]')."
        )
    return row


def block_of_rows(
    rows: list[dict[str, Any]], path: str, config: InputConfig, types: pa.Schema | None
) -> Block:
    """Rows as a block; texts that are not strings are marked.

    Parameters
    ----------
    rows : list of dict
    path : str
        For messages.
    config : InputConfig
    types : pyarrow.Schema or None

    Raises
    ------
    UserError
        If the values of a column have no common type.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    for name in asked_columns(config).values():
        if name not in names and "." in name and name.partition(".")[0] in names:
            columns[name] = [_at(row, name) for row in rows]
    arrays = {}
    not_text = None
    for name, values in columns.items():
        if name == config.text_column:
            good = [value if _is_text(value) else None for value in values]
            pairs = zip(values, good, strict=True)
            not_text = pa.array([a is not None and b is None for a, b in pairs], pa.bool_())
            arrays[name] = pa.array(good, pa.string())
            continue
        known = None if types is None or name not in types.names else types.field(name).type
        arrays[name] = _array(name, values, known, path)
    return Block(pa.table(arrays), path, not_text=not_text)


def _array(name: str, values: list[Any], known: pa.DataType | None, path: str) -> pa.Array:
    try:
        if known is not None and pa.types.is_integer(known):
            # If given this type, pyarrow would drop fractions.
            return pa.array(values).cast(known)
        return pa.array(values, known)
    # ArrowTypeError is a TypeError, ArrowInvalid and Unicode errors are ValueErrors. Their
    # messages quote values of the corpus.
    except (TypeError, ValueError, OverflowError, NotImplementedError):
        kinds = sorted({_KINDS.get(type(value), "other") for value in values if value is not None})
        big = any(type(value) is int and abs(value) >= 2**53 for value in values)
        raise UserError(
            f"The column {name!r} of {path} has values of incompatible types, or too large ones "
            f"({', '.join(kinds)}{'; integers of more than 53 bits' if big else ''}); "
            "give it one type or drop it."
        ) from None


_KINDS = {
    bool: "true/false",
    int: "integers",
    float: "fractions",
    str: "strings",
    list: "lists",
    dict: "objects",
}


def _at(row: dict[str, Any], path: str) -> Any:
    """The value at a path such as ``ticket.body``; None if it leads nowhere."""
    value: Any = row
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        # JSON can contain half of a surrogate pair, which is not a character.
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
