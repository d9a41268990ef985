"""Stream a csv or tsv file as blocks of strings.

Types are not inferred here: a column's type is known only after the whole input has been read, and
guessing from the first block could turn the label "01" into "1".
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from pyarrow import fs

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.blocks import Block, require_columns
from smotext_ray.corpus.dialect import Dialect, find_dialect, reader
from smotext_ray.corpus.text_files import buffered, open_bytes
from smotext_ray.errors import UserError

# A row must fit in a block, so this is also the longest possible row.
CSV_BLOCK_BYTES = 16 << 20


def read_csv(
    filesystem: fs.FileSystem, path: str, config: InputConfig, delimiter: str
) -> Iterator[Block]:
    """Read one file as a stream of blocks.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    path : str
    config : InputConfig
    delimiter : str
        The one that the file's extension implies.

    Yields
    ------
    Block
    """
    dialect = find_dialect(filesystem, path, config, delimiter)
    names = list(dialect.names)
    require_columns(names, config, path)
    ragged: list[pyarrow.csv.InvalidRow] = []

    def note(row: pyarrow.csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    is_quoted = dialect.quoting != "none"
    read = pyarrow.csv.ReadOptions(
        block_size=CSV_BLOCK_BYTES,
        encoding="utf8" if dialect.encoding == "utf-8" else dialect.encoding,
        column_names=names,
        skip_rows=dialect.lines_before,
        skip_rows_after_names=int(dialect.has_header),
    )
    parse = pyarrow.csv.ParseOptions(
        delimiter=dialect.delimiter,
        quote_char='"' if is_quoted else False,
        double_quote=is_quoted,
        escape_char="\\" if dialect.quoting == "backslash" else False,
        newlines_in_values=is_quoted,
        invalid_row_handler=note,
    )
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        # Only an empty cell is null: "NA" or "null" may be a class or a text.
        null_values=[""],
        strings_can_be_null=True,
    )
    text_index = names.index(config.text_column) if config.text_column in names else None
    with (
        open_bytes(filesystem, path) as stream,
        pyarrow.csv.open_csv(stream, read, parse, convert) as batches,
    ):
        for batch in batches:
            if ragged:
                raise UserError(_ragged(filesystem, path, dialect, ragged[0]))
            table = pa.Table.from_batches([batch])
            if dialect.has_header and _repeats_names(table):
                raise UserError(
                    f"{path} has the names of its columns again in a later line, as when files are "
                    "joined with their headers; remove that line, or name the files by a pattern."
                )
            if text_index is not None:
                text = table.column(text_index).fill_null("")
                table = table.set_column(text_index, config.text_column, text)
            yield Block(table, path, written=frozenset(names))
    if ragged:
        raise UserError(_ragged(filesystem, path, dialect, ragged[0]))


def _repeats_names(table: pa.Table) -> bool:
    """Whether a row has every column's name in that column."""
    rows = pa.scalar(True)
    for name in table.column_names:
        rows = pc.and_(rows, pc.equal(table[name], name))
    return bool(pc.any(rows).as_py())


def _ragged(
    filesystem: fs.FileSystem, path: str, dialect: Dialect, row: pyarrow.csv.InvalidRow
) -> str:
    line = _line_of(filesystem, path, dialect)
    return (
        f"Line {line} of {path} has {row.actual_columns} cells instead of {row.expected_columns}; "
        "quote cells with delimiters in them, or set input.delimiter or input.quoting."
    )


def _line_of(filesystem: fs.FileSystem, path: str, dialect: Dialect) -> int:
    """The first line whose row has a different number of cells."""
    with open_bytes(filesystem, path) as stream:
        lines = io.TextIOWrapper(buffered(stream), dialect.encoding, newline="")
        rows = reader(lines, dialect, strict=False)
        begin = 1
        for cells in rows:
            if cells and len(cells) != len(dialect.names):
                break
            begin = rows.line_num + 1
    return begin
