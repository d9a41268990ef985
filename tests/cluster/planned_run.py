"""Runs of which only the decode job is left."""

from __future__ import annotations

from pathlib import Path

from handmade_run import build, changed

from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest


def planned(directory: Path, points: int, block: int, **resources: float) -> Run:
    """A plan of some points, a gate that lets all pass, one decoder unless ``resources`` differ."""
    run = build(directory, {"grain": points}, until="plan")
    manifest = Manifest.read(run)
    manifest.config = changed(
        manifest.config,
        resources={"decoder_actors": 1, "decode_rows_per_block": block, **resources},
        gate={"min_cosine": -1, "same_class": False},
    )
    manifest.save(run)
    return run


def failure(said: str) -> str:
    """The one sentence that ends a job which the same command resumes."""
    (line,) = said.strip().splitlines()[-1:]
    assert line.startswith("smotext: failed: ") and "Traceback" not in said
    assert "Run the same command again to resume." in line
    return line
