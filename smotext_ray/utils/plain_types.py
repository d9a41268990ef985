"""Reject parquet columns that may make a reader run code."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from smotext_ray.errors import UserError

# Extension types that pyarrow implements itself, as data only, and those of pandas, datasets and
# Ray (from 2.60 on) whose parameters are JSON. All others are read by code that some package has
# registered; ``ray.data.arrow_pickled_object`` unpickles each value.
HARMLESS = {
    *("arrow.bool8", "arrow.fixed_shape_tensor", "arrow.json", "arrow.opaque"),
    *("arrow.uuid", "arrow.variable_shape_tensor"),
    *("pandas.period", "pandas.interval"),
    *(f"datasets.features.features.Array{number}DExtensionType" for number in (2, 3, 4, 5)),
    *("ray.data.arrow_tensor", "ray.data.arrow_tensor_v2", "ray.data.arrow_variable_shaped_tensor"),
}
EXTENSION_NAME = b"ARROW:extension:name"


def check_plain_types(schema: pa.Schema, where: str) -> None:
    """Reject a table with columns of foreign extension types.

    Parameters
    ----------
    schema : pyarrow.Schema
    where : str
        The file or table, for the message.

    Raises
    ------
    UserError
        If a column, or a part of one, has an extension type that is not known to be data only,
        whether or not its package is loaded.
    """
    for field in schema:
        for name in _extension_names(field):
            if name not in HARMLESS:
                raise UserError(
                    f"The column {field.name!r} of {where} has the extension type {name}, which "
                    "can run code when it is read; write the table again without this column, or "
                    "with numbers or text in it."
                )


def _extension_names(field: pa.Field) -> Iterator[str]:
    """The extension types of a field and of all fields inside it."""
    # A type whose package is not loaded is read as its storage, with the name in the metadata.
    stored = (field.metadata or {}).get(EXTENSION_NAME)
    if stored is not None:
        yield stored.decode(errors="replace")
    yield from _of_type(field.type)


def _of_type(kind: pa.DataType) -> Iterator[str]:
    if isinstance(kind, pa.BaseExtensionType):
        yield kind.extension_name
        yield from _of_type(kind.storage_type)
    elif pa.types.is_dictionary(kind):
        yield from _of_type(kind.value_type)
    else:
        for index in range(kind.num_fields):
            yield from _extension_names(kind.field(index))
