"""A corpus whose rows have several labels, of which two are rare."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

COUNTS = {"earn": 50, "grain": 6, "ship": 20, "wheat": 4}


def tags(row: int) -> list[str]:
    """The labels of a row; of the last ten, some have none."""
    found = ["earn"] if row < 50 else []
    for label, each in (("grain", 10), ("wheat", 15), ("ship", 3)):
        if row % each == 0:
            found.append(label)
    return found


def tagged_table(rows: int = 60) -> pa.Table:
    """``text``, ``label`` (lists) and another column; two texts are never equal."""
    texts = [f"text {row} about {' and '.join(tags(row)) or 'nothing'}" for row in range(rows)]
    return pa.table({"text": texts, "label": [tags(r) for r in range(rows)], "n": range(rows)})


def write_tagged(path: Path, rows: int = 60) -> Path:
    pq.write_table(tagged_table(rows), path)
    return path
