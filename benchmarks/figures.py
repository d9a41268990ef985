"""Output of the benchmarks: tables, ratios with their targets, a JSON file."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple


class Target(NamedTuple):
    """A target ratio of one way to another; ``is_most`` if lower is better."""

    ours: str
    theirs: str
    value: float
    is_most: bool = False


def show(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table as Markdown has it."""
    for row in (head, ["---"] * len(head), *rows):
        print("|", " | ".join(str(cell) for cell in row), "|", flush=True)
    print(flush=True)


def show_ratios(figures: dict[str, float], targets: Iterable[Target]) -> dict[str, float]:
    """Print, and return, what is reached of each target."""
    reached = {f"{t.ours} / {t.theirs}": figures[t.ours] / figures[t.theirs] for t in targets}
    wanted = [f"at {'most' if t.is_most else 'least'} {t.value:g}" for t in targets]
    rows = zip(reached, (f"{ratio:.2f}" for ratio in reached.values()), wanted, strict=True)
    show(["ratio", "reached", "target"], rows)
    return reached


def save(file: Path, **content: Any) -> None:
    """Write figures, and on what machine they were measured."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(machine() | content, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """CPU, cores, GPU and date."""
    import torch

    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": found[1] if found else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "date": datetime.now(UTC).date().isoformat(),
    }
