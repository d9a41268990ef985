"""Runs of which only the decode job is left."""

from __future__ import annotations

from pathlib import Path

from handmade_run import build

from smotext_ray.run.directory import Run


def planned(directory: Path, points: int, block: int, **resources: float) -> Run:
    """So many points, a gate that lets all pass, and one decoder unless ``resources`` say else."""
    run = build(directory, {"grain": points}, until="plan")
    manifest = run.manifest
    manifest["config"]["resources"] |= {
        "decoder_actors": 1,
        "decode_rows_per_block": block,
        **resources,
    }
    manifest["config"]["gate"] |= {"min_cosine": -1, "same_class": False}
    run.save(manifest)
    return run


def failure(said: str) -> str:
    """The one sentence that ends a job which the same command goes on with."""
    (line,) = said.strip().splitlines()[-1:]
    assert line.startswith("smotext: failed: ") and "Traceback" not in said
    assert "Run the same command again to resume." in line
    return line
