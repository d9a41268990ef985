"""The dialect of a csv file: delimiter, quoting and header, as set, or detected if it is certain.

No file says how it was written, and a wrong guess silently swallows rows: a stray quote joins all
lines up to the next one. So every quoted line is read strictly once, and if that leaves a doubt,
the file is refused with the line and the setting that resolves it.
"""

from __future__ import annotations

import csv
import io
import itertools
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pyarrow import fs

from smotext_ray.config.choices import Quoting
from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.blocks import OPTIONS, asked_columns
from smotext_ray.corpus.text_files import buffered, find_encoding, open_bytes
from smotext_ray.errors import UserError

log = logging.getLogger("smotext_ray")

DELIMITERS = (",", "\t", ";", "|")
NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
SAMPLE_ROWS = 1000
MOST_DOUBTS = 100


@dataclass(frozen=True)
class Dialect:
    """How a csv file is written.

    Attributes
    ----------
    encoding : str
    delimiter : str
    quoting : {'quoted', 'backslash', 'none'}
        What a quote means: it encloses a cell, in which quotes are doubled or follow a backslash,
        or it is text.
    names : tuple of str
        The columns; unnamed ones are numbered from 1.
    has_header : bool
    lines_before : int
        Empty lines at the start, and Excel's ``sep=;``.
    """

    encoding: str
    delimiter: str
    quoting: Quoting
    names: tuple[str, ...]
    has_header: bool
    lines_before: int


def find_dialect(
    filesystem: fs.FileSystem, path: str, config: InputConfig, delimiter: str
) -> Dialect:
    """Detect how a file is written.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    path : str
    config : InputConfig
    delimiter : str
        The one that the file's extension implies.

    Raises
    ------
    UserError
        If no delimiter gives the requested columns, or a quote may have swallowed rows.
    """
    info = filesystem.get_file_info(path)
    key = (filesystem.type_name, path, info.size, info.mtime_ns, config, delimiter)
    if key not in _known:
        while len(_known) >= MOST_KNOWN:
            _known.pop(next(iter(_known)))
        _known[key] = _found(_Lines(filesystem, path, config), config, delimiter)
    return _known[key]


# An input is read two or three times, and each reading needs the dialect.
_known: dict[Any, Dialect] = {}
MOST_KNOWN = 10_000


class _Lines:
    """The lines of a file from its first row on; each iteration starts there again."""

    def __init__(self, filesystem: fs.FileSystem, path: str, config: InputConfig) -> None:
        self.filesystem, self.path = filesystem, path
        self.encoding = find_encoding(filesystem, path, config.encoding)
        self.before, self.separator = 0, None
        for line in self._all():
            told = re.fullmatch(r"sep=(.)", line.strip("\r\n"), re.IGNORECASE)
            if not told and line.strip("\r\n"):
                break
            self.before += 1
            self.separator = told[1] if told else self.separator

    def __iter__(self) -> Iterator[str]:
        yield from itertools.islice(self._all(), self.before, None)

    def _all(self) -> Iterator[str]:
        encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
        with open_bytes(self.filesystem, self.path) as stream:
            yield from io.TextIOWrapper(buffered(stream), encoding, newline="")

    def has_quotes(self) -> bool:
        return any('"' in line for line in self)


def _found(lines: _Lines, config: InputConfig, usual: str) -> Dialect:
    # Cells may be of any length.
    csv.field_size_limit(sys.maxsize)
    delimiter, first = _delimiter(lines, config, usual)
    names = _names(first, config.header)
    dialect = Dialect(lines.encoding, delimiter, "quoted", names, config.header, lines.before)
    if config.quoting != "auto":
        return _with(dialect, config.quoting)
    if not lines.has_quotes():
        return dialect
    doubts = {kind: _doubt(lines, _with(dialect, kind), config) for kind in ("quoted", "backslash")}
    for kind, doubt in doubts.items():
        if doubt is None:
            return _with(dialect, kind)
    if _is_even(lines, dialect):
        log.info(
            "%s: its quotes are taken as part of the texts, as they enclose no cells", lines.path
        )
        return _with(dialect, "none")
    raise UserError(
        f"{doubts['quoted']}; fix the quotes, or say what they are: input.quoting=none if they are "
        "part of the texts, quoted if they enclose cells."
    )


def _with(dialect: Dialect, quoting: Any) -> Dialect:
    return replace(dialect, quoting=quoting)


def reader(lines: Any, dialect: Dialect, strict: bool = True) -> Any:
    """A reader of the standard library for the dialect."""
    if dialect.quoting == "none":
        return csv.reader(lines, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE)
    escape = "\\" if dialect.quoting == "backslash" else None
    return csv.reader(lines, delimiter=dialect.delimiter, escapechar=escape, strict=strict)


def _delimiter(lines: _Lines, config: InputConfig, usual: str) -> tuple[str, list[str]]:
    """The delimiter and the cells of the first line."""
    told = config.delimiter or lines.separator
    if told is not None:
        return told, _first(lines, told)
    asked = set(asked_columns(config).values())
    firsts = {each: _first(lines, each) for each in (usual, *DELIMITERS)}
    if config.header:
        fitting = [d for d, cells in firsts.items() if asked <= set(_names(cells, True))]
        if fitting:
            return fitting[0], firsts[fitting[0]]
    # The one that splits all lines into the same number of cells, if it is not the usual one.
    wide = {d: cells for d, cells in firsts.items() if len(cells) > 1 and _splits(lines, d)}
    if len(firsts[usual]) < 2 and len(wide) == 1:
        usual = next(iter(wide))
    cells = firsts[usual]
    if not cells:
        raise UserError(f"{lines.path} has no lines; write the corpus to it first.")
    if config.header:
        raise UserError(_missing(lines, usual, cells, config))
    return usual, cells


def _missing(lines: _Lines, delimiter: str, cells: list[str], config: InputConfig) -> str:
    path = lines.path
    if not _looks_like_names(cells, lines, delimiter):
        return (
            f"The first line of {path} does not look like the names of its columns; if it has no "
            "header, add input.header=false and choose columns with --text-column column_1 and so "
            "on, else name the delimiter with input.delimiter."
        )
    names = _names(cells, True)
    role, name = next((r, n) for r, n in asked_columns(config).items() if n not in names)
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return (
        f"{path} has no column {name!r}; name one of its columns ({listed}) with "
        f"{OPTIONS.get(role, '--label-columns')}."
    )


def _first(lines: _Lines, delimiter: str) -> list[str]:
    for cells in csv.reader(iter(lines), delimiter=delimiter):
        if cells:
            return cells
    return []


def _names(cells: list[str], has_header: bool) -> tuple[str, ...]:
    return tuple(
        cell if has_header and cell.strip() else f"column_{number}"
        for number, cell in enumerate(cells, 1)
    )


def _sample(lines: _Lines, delimiter: str) -> list[list[str]]:
    rows = []
    for cells in csv.reader(iter(lines), delimiter=delimiter):
        rows += [cells] if cells else []
        if len(rows) > SAMPLE_ROWS:
            break
    return rows


def _splits(lines: _Lines, delimiter: str) -> bool:
    return len({len(cells) for cells in _sample(lines, delimiter)}) == 1


def _looks_like_names(cells: list[str], lines: _Lines, delimiter: str) -> bool:
    """Whether a line may be shown: names are short, and do not occur again below."""
    if len(set(cells)) < len(cells):
        return False
    if not all(re.fullmatch(r"[^\W\d][\w ./()#%-]{0,39}|", cell.strip()) for cell in cells):
        return False
    if any(len(cell.split()) > 3 for cell in cells):
        return False
    rows = _sample(lines, delimiter)[1:]
    return bool(rows) and not any(
        cell and len(row) > i and row[i] == cell for row in rows for i, cell in enumerate(cells)
    )


def _doubt(lines: _Lines, dialect: Dialect, config: InputConfig) -> str | None:
    """Where a stray quote may have joined lines; None if there is no doubt."""
    label = config.label_column
    column = dialect.names.index(label) if label in dialect.names else None
    held: list[str] = []
    labels: set[str] = set()
    joined: list[tuple[int, int, list[str]]] = []
    rows = reader(_kept(lines, held), dialect)
    begin = lines.before + 1
    try:
        for cells in rows:
            if column is not None and len(cells) > column:
                labels.add(cells[column])
            if len(held) > 1 and len(joined) < MOST_DOUBTS:
                joined.append((begin, lines.before + rows.line_num, held[:]))
            held.clear()
            begin = lines.before + rows.line_num + 1
    except csv.Error:
        return f"Line {begin} of {lines.path} has a quote that is not closed before the cell ends"
    for first, last, raw in joined:
        # One line of the row, its first or last, may look like a whole row; a second one may not.
        if sum(_is_row(line, dialect, column, labels) for line in raw) > 1:
            return (
                f"A quote in line {first} of {lines.path} makes one cell of lines {first} to "
                f"{last}, which look like rows"
            )
    return None


def _kept(lines: _Lines, held: list[str]) -> Iterator[str]:
    for line in lines:
        held.append(line)
        yield line


def _is_row(line: str, dialect: Dialect, column: int | None, labels: set[str]) -> bool:
    cells = line.rstrip("\r\n").split(dialect.delimiter)
    if len(cells) != len(dialect.names):
        return False
    return dialect.delimiter == "\t" or column is None or cells[column].strip('"') in labels


def _is_even(lines: _Lines, dialect: Dialect) -> bool:
    """Whether each line is a row when quotes are taken as text."""
    width = len(dialect.names)
    rows = reader(iter(lines), _with(dialect, "none"))
    return all(len(cells) in (0, width) for cells in rows)
