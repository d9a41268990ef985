"""Rows with several labels each: read from lists, delimited strings or 0/1 columns, and back.

In `corpus/` a row has the list of its labels, without duplicates. The input's own label columns are
kept next to it, so that original rows are returned unchanged.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.blocks import Block, plain_column
from smotext_ray.corpus.column_types import is_string
from smotext_ray.corpus.conversion import label_type
from smotext_ray.corpus.plain import plain_type
from smotext_ray.errors import UserError
from smotext_ray.tables import is_list, label_pairs

ONE, ZERO = pa.array(["1", "1.0", "true"]), pa.array(["0", "0.0", "false"])


def has_label_sets(config: InputConfig, schema: pa.Schema) -> bool:
    """Whether the rows have sets of labels, by the settings or by the type of the label column."""
    if config.label_columns is not None or config.label_delimiter is not None:
        return True
    kinds = dict(zip(schema.names, schema.types, strict=True))
    return config.label_column in kinds and is_list(kinds[config.label_column])


def staged_label_type(config: InputConfig, schema: pa.Schema) -> pa.DataType:
    """The type of the labels in ``corpus/``: string, integer or bool, or lists of the first two."""
    if config.label_columns is not None or config.label_delimiter is not None:
        return pa.list_(pa.string())
    kind = plain_type(schema.field(config.label_column).type)
    if not is_list(kind):
        return label_type(schema.field(config.label_column).type)
    return pa.list_(pa.int64() if pa.types.is_integer(kind.value_type) else pa.string())


def read_label_sets(block: Block, config: InputConfig) -> pa.ListArray:
    """The labels of each row of a block, in the row's order, without duplicates.

    Returns
    -------
    pyarrow.ListArray
        Lists of strings or integers; null if a row's labels, or one of them, are missing.

    Raises
    ------
    UserError
        If lists contain other types, or a label column contains anything but 0 and 1.
    """
    if config.label_columns is not None:
        return _of_indicators(block, config.label_columns)
    column = plain_column(block, config.label_column)
    if config.label_delimiter is not None:
        is_written = config.label_column in block.written
        return _of_strings(column, config, config.label_delimiter, is_written)
    return _of_lists(column, config)


def label_columns(sets: pa.Array, config: InputConfig, schema: pa.Schema) -> dict[str, pa.Array]:
    """Sets of labels in the form of the input, in the `plain_type` of its columns.

    Parameters
    ----------
    sets : pyarrow.ListArray
    config : InputConfig
    schema : pyarrow.Schema
        The input's columns.
    """
    if config.label_columns is not None:
        rows, labels = label_pairs(sets)
        columns = {}
        for name in config.label_columns:
            is_set = np.zeros(len(sets), np.int64)
            is_set[rows[pc.equal(labels, name).to_numpy(zero_copy_only=False)]] = 1
            columns[name] = pa.array(is_set).cast(plain_type(schema.field(name).type))
        return columns
    kind = plain_type(schema.field(config.label_column).type)
    if config.label_delimiter is not None:
        sets = pc.binary_join(sets.cast(pa.list_(pa.string())), config.label_delimiter)
    return {config.label_column: sets.cast(kind)}


def _of_lists(column: pa.Array, config: InputConfig) -> pa.ListArray:
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.list_(pa.string()))
    kind = column.type.value_type
    if not (is_string(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise UserError(
            f"The label column {config.label_column!r} has lists of {kind}; each must be a list "
            "of strings or integers."
        )
    rows, labels = label_pairs(column)
    missing = column.is_null().to_numpy(zero_copy_only=False).copy()
    is_null = labels.is_null().to_numpy(zero_copy_only=False)
    missing[rows[is_null]] = True
    try:
        labels = labels.cast(pa.int64() if pa.types.is_integer(kind) else pa.string())
    except pa.ArrowInvalid:
        raise UserError(
            f"The label column {config.label_column!r} has integers beyond 64 bits; write them as "
            "strings."
        ) from None
    return _once_each(rows, labels, missing)


def _of_strings(
    column: pa.Array, config: InputConfig, delimiter: str, is_written: bool
) -> pa.ListArray:
    if not is_string(column.type) and not pa.types.is_null(column.type):
        raise UserError(
            f"The label column {config.label_column!r} has type {column.type}, but "
            "input.label_delimiter splits strings; leave it out."
        )
    column = column.cast(pa.string())
    # An empty csv cell, which is null, means a row without a label.
    no = np.zeros(len(column), bool)
    missing = no if is_written else column.is_null().to_numpy(zero_copy_only=False)
    rows, labels = label_pairs(pc.split_pattern(column, delimiter))
    labels = pc.utf8_trim_whitespace(labels)
    some = pc.not_equal(labels, "")
    return _once_each(rows[some.to_numpy(zero_copy_only=False)], labels.filter(some), missing)


def _of_indicators(block: Block, names: tuple[str, ...]) -> pa.ListArray:
    is_set = np.zeros((block.table.num_rows, len(names)), bool)
    missing = np.zeros(block.table.num_rows, bool)
    for number, name in enumerate(names):
        column = plain_column(block, name)
        if is_string(column.type) and name not in block.written:
            raise _not_binary(name, block)
        try:
            written = pc.utf8_lower(column.cast(pa.string()))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            raise _not_binary(name, block) from None
        one, zero = pc.is_in(written, ONE), pc.is_in(written, ZERO)
        known = pc.or_(pc.or_(one, zero), written.is_null())
        if not pc.all(known).as_py() and len(known):
            raise _not_binary(name, block)
        is_set[:, number] = one.to_numpy(zero_copy_only=False)
        missing |= written.is_null().to_numpy(zero_copy_only=False)
    rows, codes = np.nonzero(is_set)
    return _once_each(rows, pa.array(names).take(pa.array(codes)), missing)


def _not_binary(name: str, block: Block) -> UserError:
    return UserError(
        f"The label column {name!r} of {block.where} has values other than 0 and 1; leave it out "
        "of --label-columns, or write 1 where a row has the label and 0 where it has not."
    )


def _once_each(
    rows: NDArray[np.int64], labels: pa.Array, missing: NDArray[np.bool_]
) -> pa.ListArray:
    """The lists of labels of all rows, without duplicates; missing ones are null."""
    codes = labels.dictionary_encode().indices.fill_null(0).to_numpy()
    pairs = rows * (int(codes.max(initial=0)) + 1) + codes
    first = np.sort(np.unique(pairs, return_index=True)[1])
    first = first[~missing[rows[first]]]
    lengths = np.bincount(rows[first], minlength=len(missing))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), labels.take(pa.array(first)), mask=pa.array(missing)
    )
