"""A corpus of two classes as a csv file."""

from __future__ import annotations

from pathlib import Path

ROWS = [
    *(("wheat prices rose", "grain"), ("the harvest was poor", "grain")),
    *(("a vessel sank", "ship"), ("the port is shut", "ship"), ("two tankers met", "ship")),
]


def csv(path: Path, rows: list = ROWS, header: str = "text,label") -> Path:
    """Write the rows; returns the path."""
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return path
