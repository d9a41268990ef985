"""Metadata for pandas: columns of integers are nullable if synthetic rows have no value.

Without it, pandas reads an integer column with missing values as float64, which rounds ids above
2^53.
"""

from __future__ import annotations

import json
from collections.abc import Set
from typing import Any

import pandas as pd
import pyarrow as pa

from smotext_ray._version import __version__

KEY = b"pandas"


def with_pandas_dtypes(schema: pa.Schema, complete: Set[str]) -> pa.Schema:
    """The schema with metadata for pandas.

    Parameters
    ----------
    schema : pyarrow.Schema
        May already have such metadata, whose dtypes are kept.
    complete : set of str
        Columns without missing values, which keep numpy's dtypes.

    Returns
    -------
    pyarrow.Schema
        An index of integers becomes a column, because an index cannot have missing integers.
    """
    metadata = dict(schema.metadata or {})
    given = _read(metadata)
    known = {entry.get("field_name"): entry for entry in given["columns"]}
    columns = [
        _entry(field, known.get(field.name, {}), field.name in complete | {"synthetic"})
        for field in schema
    ]
    told = given | {
        "index_columns": [
            name
            for name in given["index_columns"]
            if isinstance(name, str)
            and name in schema.names
            and not pa.types.is_integer(schema.field(name).type)
        ],
        "columns": columns,
    }
    return schema.with_metadata(metadata | {KEY: json.dumps(told).encode()})


def _read(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    empty = {
        "index_columns": [],
        "column_indexes": [],
        "columns": [],
        "creator": {"library": "smotext-ray", "version": __version__},
        "pandas_version": pd.__version__,
    }
    try:
        given = json.loads(metadata[KEY])
        return empty | given if isinstance(given, dict) else empty
    except (KeyError, ValueError):
        return empty


def _entry(field: pa.Field, known: dict[str, Any], is_complete: bool) -> dict[str, Any]:
    kind = field.type
    entry = {
        "name": field.name,
        "field_name": field.name,
        "pandas_type": str(kind) if kind.num_fields == 0 else "object",
        "numpy_type": _dtype(kind),
        "metadata": None,
    } | known
    if is_complete or entry["numpy_type"] != _dtype(kind):  # a nullable dtype of pandas
        return entry
    if pa.types.is_boolean(kind):
        return entry | {"numpy_type": "boolean"}
    if pa.types.is_integer(kind):
        name = str(kind).replace("uint", "UInt") if "u" in str(kind) else str(kind).capitalize()
        return entry | {"numpy_type": name}
    return entry


def _dtype(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind):
        return str(kind.to_pandas_dtype().__name__).rstrip("_")
    return "object"
