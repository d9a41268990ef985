"""A block: some rows of the input as an Arrow table."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from smotext_ray.config.schema import InputConfig
from smotext_ray.errors import UserError

BLOCK_ROWS = 8192


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
                f"with --{role}-column."
            )


def asked_columns(config: InputConfig) -> dict[str, str]:
    """The names of the required columns, by what they are for."""
    asked = {"text": config.text_column, "label": config.label_column, "id": config.id_column}
    return {role: name for role, name in asked.items() if name is not None}
