"""Corpora that grow, and what a run has made of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from smotext_ray.config.schema import RunConfig
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify


def rows(label: str, first: int, stop: int) -> list[tuple[str, str]]:
    """Texts of a class, with its label."""
    return [(f"{label}{i % 8} text number {i}", label) for i in range(first, stop)]


def write(path: Path, *parts: list[tuple[str, str]], ids: bool = False) -> Path:
    """A corpus of such rows, with ids of their own or without."""
    texts, labels = zip(*[row for part in parts for row in part], strict=True)
    table = pa.table({"text": texts, "label": labels})
    if ids:
        table = table.append_column("key", pa.array([f"k{i}" for i in range(len(table))]))
    pq.write_table(table, path)
    return path


def labels_of(run: Run) -> dict[bool, Counter]:
    """How many rows the result has of each class, synthetic and not."""
    table = pq.read_table(run.at("augmented.parquet"))
    found: dict[bool, Counter] = {True: Counter(), False: Counter()}
    for label, synthetic in zip(*table.select(["label", "synthetic"]).columns, strict=True):
        found[synthetic.as_py()][label.as_py()] += 1
    return found


def is_sound(run: Run) -> bool:
    """Whether `verify` finds nothing."""
    return all(finding.ok for finding in verify(run))


def config_of(run: Run) -> RunConfig:
    """The settings in the manifest."""
    return Manifest.read(run).config
