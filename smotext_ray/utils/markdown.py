"""Markdown tables, for cards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from smotext_ray.safe_text import visible


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
    """The value as plain text, without links, images or HTML, which a label may contain."""
    line = " ".join(visible(str(value)).split())
    return re.sub(r"([\\|\[\]`])", r"\\\1", line).replace("&", "&amp;").replace("<", "&lt;")
