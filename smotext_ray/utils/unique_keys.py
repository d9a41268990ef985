"""Reject duplicate keys in JSON objects, of which Python would silently keep the last."""

from __future__ import annotations

from typing import Any


class KeyTwice(Exception):
    """Its only argument is the key."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An ``object_pairs_hook`` for `json.loads`.

    Raises
    ------
    KeyTwice
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise KeyTwice(next(name for name in names if names.count(name) > 1))
    return made
