"""The metadata of the input's schema: for several files, what they agree on.

Other libraries store there what Arrow's types cannot express: ``datasets`` the names of a
ClassLabel, pandas its dtypes, every library its extension types.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from smotext_ray.errors import UserError
from smotext_ray.tables import label_value_type

HUGGINGFACE = b"huggingface"
PANDAS = b"pandas"
Metadata = dict[bytes, bytes]


class SchemaMetadata:
    """Metadata of all schemas so far."""

    def __init__(self) -> None:
        self._seen: list[Metadata] = []
        self._features: dict[str, Any] = {}
        self._differing: set[str] = set()

    def add(self, schema: pa.Schema, where: str) -> None:
        """Take the metadata of one more block into account.

        Raises
        ------
        UserError
            If a number means one class in one file and another class in the next.
        """
        metadata = dict(schema.metadata or {})
        if metadata in self._seen:
            return
        self._seen.append(metadata)
        for name, feature in features(metadata).items():
            known = self._features.setdefault(name, feature)
            if known == feature:
                continue
            if "ClassLabel" in (known.get("_type"), feature.get("_type")):
                raise UserError(
                    f"The classes of the column {name!r} have other names in {where} than before; "
                    "give them the same names in the same order, or write them as strings."
                )
            self._differing.add(name)

    def merged(self) -> Metadata | None:
        """What all of them agree on; for pandas' metadata, the first one's."""
        if not self._seen:
            return None
        kept: Metadata = {}
        for metadata in self._seen:
            kept = metadata | kept
        for key, value in list(kept.items()):
            agreed = all(other.get(key, value) == value for other in self._seen)
            if not agreed and key == HUGGINGFACE:
                kept[key] = self._merged_features()
            elif not agreed and key != PANDAS:
                del kept[key]
        return kept or None

    def _merged_features(self) -> bytes:
        told = next(json.loads(m[HUGGINGFACE]) for m in self._seen if features(m))
        told["info"]["features"] = {
            name: feature for name, feature in self._features.items() if name not in self._differing
        }
        return json.dumps(told).encode()


def features(metadata: Metadata | None) -> dict[str, Any]:
    """The features of ``datasets``, by column."""
    try:
        told = json.loads((metadata or {})[HUGGINGFACE])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    if not isinstance(told, dict):
        return {}
    return {name: feature for name, feature in told.items() if isinstance(feature, dict)}


def class_names(schema: pa.Schema, column: str) -> dict[int, str]:
    """The names of a column's integers, if it is a ClassLabel of ``datasets``; else empty.

    The column may also have lists of these.
    """
    feature = features(schema.metadata).get(column, {})
    if isinstance(feature.get("feature"), dict):
        feature = feature["feature"]
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    if not isinstance(names, list) or column not in schema.names:
        return {}
    if not pa.types.is_integer(label_value_type(schema.field(column).type)):
        return {}
    return {number: name for number, name in enumerate(names) if isinstance(name, str)}


def common(one: Metadata | None, other: Metadata | None) -> Metadata | None:
    """The entries that both have."""
    shared = {k: v for k, v in (one or {}).items() if (other or {}).get(k) == v}
    return shared or None
