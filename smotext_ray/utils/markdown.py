"""Markdown tables, for cards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A table of any values, one line per row.

    Examples
    --------
    >>> print(table(("class", "rows"), [("a|b", 3)]))
    | class | rows |
    | --- | --- |
    | a\\|b | 3 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", r"\|").split())
