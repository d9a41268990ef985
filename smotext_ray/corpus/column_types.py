"""Infer the types of the input's columns from all of its blocks.

Two files, or two blocks of one file, can disagree about a column. Typed blocks are widened to a
common type; csv, which has no types, gets the narrowest type that preserves every cell as written.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from smotext_ray.corpus.formats import Block
from smotext_ray.errors import UserError

# Narrowest first. A column stays a string if conversion would lose information: leading zeros
# ("007"), more digits than the type holds, or an exponent that may be part of a name ("12e5").
GUESSES = (
    (pa.int64(), r"^(0|-?[1-9][0-9]{0,17})$"),
    (pa.float64(), r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?([eE][+-][0-9]{1,2})?$"),
    (pa.bool_(), r"^(true|True|TRUE|false|False|FALSE)$"),
)


class ColumnTypes:
    """The columns' types so far.

    Parameters
    ----------
    text : str
        The text column: always a string, regardless of its values.
    label : str
        The label column: never inferred as float, because "1.5" may be a class name.
    """

    def __init__(self, text: str, label: str) -> None:
        self._text = text
        self._label = label
        self._types: dict[str, pa.DataType] = {}
        self._guesses: dict[str, list[pa.DataType]] = {}
        self._filled: set[str] = set()

    def add(self, block: Block) -> None:
        """Take one more block into account.

        Raises
        ------
        UserError
            If no single type can hold a column's values.
        """
        for name, column in zip(block.table.column_names, block.table.columns, strict=True):
            if not block.typed and name != self._text:
                self._narrow(name, column)
            kind = column.type
            if name == self._text and not is_string(kind):
                kind = pa.null()
            known = self._types.get(name, kind)
            self._types[name] = known if known == kind else _wider(known, kind, name, block)

    def schema(self) -> pa.Schema:
        """The columns in order of first appearance.

        Returns
        -------
        pyarrow.Schema
        """
        types = dict(self._types)
        for name, guesses in self._guesses.items():
            if guesses and name in self._filled:
                types[name] = guesses[0]
        return pa.schema(list(types.items()))

    def _narrow(self, name: str, strings: pa.ChunkedArray) -> None:
        if name not in self._guesses:
            self._guesses[name] = [
                kind for kind, _ in GUESSES if name != self._label or not pa.types.is_floating(kind)
            ]
        if strings.null_count < len(strings):
            self._filled.add(name)
        possible = self._guesses[name]
        for kind, pattern in GUESSES:
            if kind not in possible:
                continue
            # Null if there are no values to decide.
            if pc.all(pc.match_substring_regex(strings, pattern)).as_py() is False:
                possible.remove(kind)


def is_string(kind: pa.DataType) -> bool:
    """Whether a type is a string, plain or dictionary-encoded.

    Parameters
    ----------
    kind : pyarrow.DataType

    Returns
    -------
    bool
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _wider(one: pa.DataType, other: pa.DataType, name: str, block: Block) -> pa.DataType:
    kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in (one, other)]
    # pyarrow would unify strings and bytes; we do not.
    if is_string(kinds[0]) == is_string(kinds[1]) or pa.null() in kinds:
        try:
            schemas = [pa.schema([(name, kind)]) for kind in kinds]
            return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        except (pa.ArrowTypeError, pa.ArrowInvalid):
            pass
    raise UserError(
        f"The column {name!r} of {block.where} has {kinds[1]} values, but {kinds[0]} values "
        "before; give it one type or drop it."
    )
