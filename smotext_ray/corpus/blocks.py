"""A block: some rows of the input as an Arrow table."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.plain import plain, plain_type
from smotext_ray.errors import UserError

BLOCK_ROWS = 8192
OPTIONS = {role: f"--{role}-column" for role in ("text", "label", "id")}


@dataclass(frozen=True)
class Block:
    """Some rows of the input, with its columns.

    Attributes
    ----------
    table : pyarrow.Table
    where : str
        The file's name, for messages.
    written : frozenset of str
        Columns without a type, such as all of csv: strings as written (an empty cell is null,
        except in the text column, where it is an empty text).
    not_text : pyarrow.BooleanArray or None
        Rows whose text was present but not a string; their text is null in the table.
    """

    table: pa.Table
    where: str
    written: frozenset[str] = frozenset()
    not_text: pa.BooleanArray | None = None


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
    for role, name in asked_columns(config).items():
        if name not in names:
            listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise UserError(
                f"{where} has no column {name!r}; name one of its columns ({listed}) "
                f"with {OPTIONS.get(role, '--label-columns')}."
            )


def asked_columns(config: InputConfig) -> dict[str, str]:
    """The names of the required columns, keyed by their purpose."""
    labels = {"label": config.label_column}
    if config.label_columns is not None:
        labels = {f"label {name}": name for name in config.label_columns}
    asked = {"text": config.text_column, **labels, "id": config.id_column}
    return {role: name for role, name in asked.items() if name is not None}


def plain_column(block: Block, name: str) -> pa.Array:
    """A column as a single array, in its `plain_type`.

    Parameters
    ----------
    block : Block
    name : str

    Returns
    -------
    pyarrow.Array
        Nulls if the block lacks the column, which can happen with JSON lines.
    """
    if name not in block.table.column_names:
        return pa.nulls(block.table.num_rows)
    column = block.table.column(name)
    if column.num_chunks == 1:
        return plain(column.chunk(0))
    return pa.chunked_array(
        [plain(chunk) for chunk in column.chunks], plain_type(column.type)
    ).combine_chunks()
