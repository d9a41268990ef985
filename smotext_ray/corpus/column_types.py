"""Infer the types of the input's columns from all of its blocks.

Two files, or two blocks of one file, can disagree about a column. Typed blocks are widened to a
common type; csv, which has no types, gets the narrowest type that prints every cell as written.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from smotext_ray.corpus.blocks import Block
from smotext_ray.corpus.plain import plain, plain_type
from smotext_ray.corpus.schema_metadata import SchemaMetadata, common
from smotext_ray.errors import UserError

# Maximum categories per column whose order is kept; a larger dictionary has texts, not classes.
MOST_CATEGORIES = 100_000
_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
_NUMBER = r"^-?[0-9]+(\.[0-9]+)?(e[+-][0-9]{2,3})?$"


def _are_integers(cells: pa.ChunkedArray) -> bool:
    return pc.all(pc.match_substring_regex(cells, _INTEGER)).as_py() is not False


def _are_floats(cells: pa.ChunkedArray) -> bool:
    # "3.10" may be a version or a section rather than 3.1, and "12e5" a name.
    if pc.all(pc.match_substring_regex(cells, _NUMBER)).as_py() is False:
        return False
    return all(cell is None or repr(float(cell)) == cell for cell in cells.to_pylist())


def _are_bools(cells: pa.ChunkedArray) -> bool:
    return pc.all(pc.is_in(cells.drop_null(), pa.array(["True", "False"]))).as_py() is not False


# Narrowest first. A type is possible only if each cell's value prints exactly as the cell.
GUESSES: tuple[tuple[pa.DataType, Callable[[pa.ChunkedArray], bool]], ...] = (
    (pa.int64(), _are_integers),
    (pa.float64(), _are_floats),
    (pa.bool_(), _are_bools),
)


class ColumnTypes:
    """The columns' types so far.

    Parameters
    ----------
    text : str
        The text column: always a string, regardless of its values.
    label : str
        The label column: never inferred as float, because "1.5" may be a class name.
    id : str, optional
        The id column: only integers or strings.
    joined : str, optional
        The label column, if it has several labels joined into a string.

    Attributes
    ----------
    categories : dict of str to pyarrow.Array
        For each dictionary column, its values in order, including those that no row has.
    is_mixed : bool
        Whether a column has been widened, so that its values may not fit.
    """

    def __init__(
        self, text: str, label: str | None, id: str | None = None, joined: str | None = None
    ) -> None:
        self._text = text
        every = {kind for kind, _ in GUESSES}
        self._not_guessed = {label: {pa.float64()}, id: {pa.float64(), pa.bool_()}, joined: every}
        self._fields: dict[str, pa.Field] = {}
        self._metadata = SchemaMetadata()
        self._guesses: dict[str, list[pa.DataType]] = {}
        self._filled: set[str] = set()
        self.categories: dict[str, pa.Array] = {}
        self.is_mixed = False

    def add(self, block: Block) -> None:
        """Take one more block into account.

        Raises
        ------
        UserError
            If no single type can hold a column's values.
        """
        self._metadata.add(block.table.schema, block.where)
        for field, column in zip(block.table.schema, block.table.columns, strict=True):
            name = field.name
            if name in block.written and name != self._text:
                self._narrow(name, column)
            if name == self._text and not is_string(field.type):
                field = field.with_type(pa.null())
            self._add_field(field, block)
            if pa.types.is_dictionary(field.type):
                for chunk in column.chunks:
                    self._add_categories(name, chunk, block)

    def schema(self) -> pa.Schema:
        """The columns in order of first appearance, with the metadata of the input.

        Returns
        -------
        pyarrow.Schema
        """
        fields = dict(self._fields)
        for name, guesses in self._guesses.items():
            if guesses and name in self._filled and is_string(fields[name].type):
                fields[name] = fields[name].with_type(guesses[0])
        self.categories = {
            name: values
            for name, values in self.categories.items()
            if pa.types.is_dictionary(fields[name].type)
        }
        return pa.schema(list(fields.values()), self._metadata.merged())

    def _add_field(self, field: pa.Field, block: Block) -> None:
        known = self._fields.get(field.name)
        # New rows may have no value in it.
        field = field.with_nullable(True)
        if known is None:
            self._fields[field.name] = field
            return
        if known.type != field.type:
            self.is_mixed = True
            kind = _wider(known.type, field.type, field.name, block)
            self._fields[field.name] = known.with_type(kind)
        if known.metadata != field.metadata:
            kept = common(known.metadata, field.metadata)
            self._fields[field.name] = self._fields[field.name].with_metadata(kept)

    def _add_categories(self, name: str, chunk: pa.DictionaryArray, block: Block) -> None:
        values = plain(chunk.dictionary).drop_null()
        known = self.categories.get(name)
        if known is None:
            self.categories[name] = values.unique()
        elif not known.equals(values) and len(known) < MOST_CATEGORIES:
            merged = pa.concat_arrays([known, values]).unique()
            places = pc.index_in(values, value_set=merged).to_numpy()
            if chunk.type.ordered and (places[1:] < places[:-1]).any():
                raise UserError(
                    f"The categories of the column {name!r} of {block.where} are in another order "
                    "than before; write them in one order, or as strings."
                )
            self.categories[name] = merged

    def _narrow(self, name: str, strings: pa.ChunkedArray) -> None:
        if name not in self._guesses:
            never = self._not_guessed.get(name, set())
            self._guesses[name] = [kind for kind, _ in GUESSES if kind not in never]
        if strings.null_count < len(strings):
            self._filled.add(name)
        possible = self._guesses[name]
        for kind, fits in GUESSES:
            if kind in possible and not fits(strings):
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
    if pa.types.is_null(one) or pa.types.is_null(other):
        return other if pa.types.is_null(one) else one
    kinds = [plain_type(kind) for kind in (one, other)]
    if kinds[0] == kinds[1] and not _has_extension(one) and not _has_extension(other):
        return kinds[0]
    if _may_unify(*kinds) and not _has_extension(one) and not _has_extension(other):
        try:
            schemas = [pa.schema([(name, kind)]) for kind in kinds]
            return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        except (pa.ArrowTypeError, pa.ArrowInvalid):
            pass
    raise UserError(
        f"The column {name!r} of {block.where} has {other} values, but {one} values "
        "before; give it one type or drop it."
    )


def _may_unify(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether to ask pyarrow, which would turn strings into bytes, and decimals into floats."""
    return all(
        kind(one) == kind(other)
        for kind in (is_string, pa.types.is_binary, pa.types.is_large_binary)
    ) and not (
        any(map(pa.types.is_decimal, (one, other))) and any(map(pa.types.is_floating, (one, other)))
    )


def _has_extension(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return True
    return any(_has_extension(kind.field(i).type) for i in range(kind.num_fields))
