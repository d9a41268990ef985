"""Convert the input's columns to the types that the survey has found."""

from __future__ import annotations

import pyarrow as pa

from smotext_ray.corpus.blocks import Block, plain_column
from smotext_ray.corpus.column_types import is_string
from smotext_ray.corpus.plain import plain_type
from smotext_ray.errors import UserError


def label_type(kind: pa.DataType) -> pa.DataType:
    """The type of staged labels: string, integer or bool.

    Floats are read as integers: if labels are missing, other tools write 1 as 1.0.
    """
    if is_string(kind):
        return pa.string()
    kind = plain_type(kind)
    return pa.int64() if pa.types.is_floating(kind) else kind


def converted(block: Block, name: str, kind: pa.DataType) -> pa.Array:
    """A column of a block in the `plain_type` of a type.

    Parameters
    ----------
    block : Block
    name : str
    kind : pyarrow.DataType
        The column's type in the whole input.

    Returns
    -------
    pyarrow.Array

    Raises
    ------
    UserError
        If a value does not fit.
    """
    column = plain_column(block, name)
    wanted = plain_type(kind)
    try:
        return column if column.type == wanted else column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise UserError(
            f"The column {name!r} of {block.where} has {column.type} values that {wanted}, which "
            "other files or rows need, cannot hold exactly; give it one type or drop it."
        ) from None
