"""Validate the rows of a block."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.blocks import Block, plain_column, require_columns
from smotext_ray.corpus.column_types import is_string
from smotext_ray.corpus.label_sets import has_label_sets, read_label_sets
from smotext_ray.errors import UserError
from smotext_ray.tables import RESERVED, is_list, label_pairs

NO_TEXT = "-"  # replaces an unusable text if no text may change what is visible

# A row counts once, with the first reason that applies.
REASONS = (
    "text is null",
    "text is empty",
    "text is not a string",
    "label is null",
    "label is empty",
)


def validate_rows(block: Block, config: InputConfig) -> tuple[pa.Array, pa.Array, np.ndarray]:
    """Validate every row of a block.

    Parameters
    ----------
    block : Block
    config : InputConfig

    Returns
    -------
    text : pyarrow.StringArray
        Null if it is not a string.
    label : pyarrow.Array
        Strings, integers, bools or floats, or lists of strings or integers.
    verdict : ndarray of int8, shape (rows,)
        0 for a valid row, else 1 + the index of its reason in ``REASONS``.

    Raises
    ------
    UserError
        If labels have an unsupported type, or strings are not UTF-8.
    """
    text = plain_column(block, config.text_column)
    label = _labels(block, config)
    not_text = block.not_text
    if not is_string(text.type):
        not_text, text = text.is_valid(), pa.nulls(len(text))
    text = text.cast(pa.string())
    _check_encoding(text, config.text_column, block)
    no = np.zeros(len(text), bool)
    is_other = no if not_text is None else _mask(not_text)
    if config.on_bad_row == "replace":
        bad = _mask(text.is_null()) | _is_blank(text) | is_other
        text, is_other = pc.if_else(pa.array(bad), NO_TEXT, text), no
    masks = {
        "text is null": _mask(text.is_null()) & ~is_other,
        "text is empty": _is_blank(text),
        "text is not a string": is_other,
        "label is null": _mask(label.is_null(nan_is_null=True)),
        "label is empty": _has_blank(label),
    }
    verdict = np.zeros(len(text), np.int8)
    for code, reason in enumerate(REASONS, 1):
        verdict[masks[reason] & (verdict == 0)] = code
    if pa.types.is_floating(label.type):
        _check_integral(label.filter(pa.array(verdict == 0)), config)
    return text, label, verdict


def read_ids(block: Block, config: InputConfig, first_row: int) -> pa.Array:
    """The ids of a block's rows.

    Parameters
    ----------
    block : Block
    config : InputConfig
    first_row : int
        0-based row number of the block's first row in the input.

    Returns
    -------
    pyarrow.Int64Array or pyarrow.StringArray
        Values of the id column or, without one, row numbers.

    Raises
    ------
    UserError
        If an id is null, or ids are neither integers nor strings.
    """
    if config.id_column is None:
        return pa.array(np.arange(first_row, first_row + block.table.num_rows))
    if first_row == 0:  # JSON lines that all lack ids lack the column
        require_columns(block.table.column_names, config, block.where)
    ids = plain_column(block, config.id_column)
    if ids.null_count:
        row = first_row + int(np.flatnonzero(_mask(ids.is_null()))[0])
        raise UserError(
            f"The id column {config.id_column!r} is null in row {row} of {config.shown} "
            "(counted from 0); fill it, or omit --id-column to number the rows."
        )
    if is_string(ids.type):
        ids = ids.cast(pa.string())
        _check_encoding(ids, config.id_column, block)
        return ids
    if not pa.types.is_integer(ids.type):
        raise UserError(
            f"The id column {config.id_column!r} has type {ids.type}; ids must be integers "
            "or strings (omit --id-column to number the rows)."
        )
    try:
        return ids.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise UserError(
            f"The id column {config.id_column!r} has integers beyond 64 bits; write them as "
            "strings."
        ) from error


def check_names(block: Block) -> None:
    """Reject input columns with names reserved for the result.

    Parameters
    ----------
    block : Block

    Raises
    ------
    UserError
    """
    taken = sorted(RESERVED.intersection(block.table.column_names))
    if taken:
        raise UserError(
            f"{block.where} has a column {taken[0]!r}, which is reserved for the result; "
            "rename or drop it."
        )


def _mask(bools: pa.Array) -> np.ndarray:
    return bools.to_numpy(zero_copy_only=False)


def _is_blank(strings: pa.Array) -> np.ndarray:
    # Only separators, control and format characters: nothing visible.
    return _mask(pc.match_substring_regex(strings, r"^[\pZ\p{Cc}\p{Cf}]*$").fill_null(False))


def _has_blank(label: pa.Array) -> np.ndarray:
    """The rows with an invisible label."""
    found = np.zeros(len(label), bool)
    rows, labels = label_pairs(label)
    if is_string(labels.type):
        found[rows[_is_blank(labels)]] = True
    return found


def _labels(block: Block, config: InputConfig) -> pa.Array:
    if has_label_sets(config, block.table.schema):
        label = read_label_sets(block, config)
    else:
        label = plain_column(block, config.label_column)
        if is_string(label.type):
            label = label.cast(pa.string())
        else:
            _check_label_type(label.type, config)
    _check_encoding(label.flatten() if is_list(label.type) else label, config.label_column, block)
    return label


def _check_encoding(strings: pa.Array, name: str, block: Block) -> None:
    try:
        strings.validate(full=True)
    except pa.ArrowInvalid as error:
        raise UserError(
            f"The column {name!r} of {block.where} is not UTF-8; rewrite the file as UTF-8."
        ) from error


def _check_label_type(kind: pa.DataType, config: InputConfig) -> None:
    allowed = (
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_null(kind)
    )
    if not allowed:
        raise UserError(
            f"The label column {config.label_column!r} has type {kind}; labels must be "
            "strings, integers or true/false."
        )


def _check_integral(labels: pa.Array, config: InputConfig) -> None:
    values = labels.to_numpy(zero_copy_only=False).astype(np.float64)
    fractions = values[~(np.isfinite(values) & (values == np.floor(values)))]
    if fractions.size:
        raise UserError(
            f"The label column {config.label_column!r} has the value "
            f"{fractions[0]:g}; labels must be "
            "strings, integers or true/false, not continuous values."
        )
