"""A decoder that takes too much memory, and is ended by Ray each time: the run has an end."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import psutil
import pytest
from cluster_tools import (
    Driver,
    Stage,
    check_whole,
    end_tree,
    free_ports,
    head,
    samples,
    start_node,
)
from planned_run import planned

from smotext_ray.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.long]

POINTS, BLOCK = 12, 4
# Beyond what the machine uses now, in bytes. The run alone takes one GiB; the tests cannot be
# run beside something that takes and frees more than half a GiB.
ROOM = 1.75 * 1024**3


@pytest.fixture
def stage(tmp_path) -> Stage:
    return Stage(tmp_path / "stage").reset(seconds=0)


def decode(stage: Stage, run: Run, threshold: float) -> tuple[int, str]:
    """The command ``smotext decode`` where Ray lets the machine use that share of its memory."""
    directory = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    (port,) = free_ports(1)
    scarce = {
        "RAY_memory_usage_threshold": f"{threshold:.4f}",
        "RAY_memory_monitor_refresh_ms": "100",
    }
    node = start_node(stage, 6, head(port, directory), directory / "head", **scarce)
    try:
        return Driver(stage, "decode", run.uri, RAY_ADDRESS=f"127.0.0.1:{port}").ends()
    finally:
        end_tree(node)
        shutil.rmtree(directory, ignore_errors=True)


def just_above() -> float:
    """The share that the machine uses now, and `ROOM`."""
    memory = psutil.virtual_memory()
    return (memory.total - memory.available + ROOM) / memory.total


def test_a_row_that_takes_all_memory_is_set_aside(stage, tmp_path):
    run = planned(tmp_path / "run", POINTS, BLOCK)
    stage.name("hungry", 5)
    code, said = decode(stage, run, just_above())
    assert code in (0, 3), said
    check_whole(run, errors={5: samples(run)[5]["reason"]})
    assert "of them on it alone" in samples(run)[5]["reason"]
