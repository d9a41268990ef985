"""Decoders that take too much memory, and are ended by Ray each time: the run has an end."""

from __future__ import annotations

import psutil
import pytest
from cluster_tools import Driver, Stage, check_whole, free_ports, ray_node, samples
from planned_run import failure, planned

from smotext_ray.run.directory import Run

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.long]

POINTS, BLOCK = 12, 4
# Beyond what the machine uses now, in bytes. The run alone takes one GiB; the tests cannot be
# run next to something that takes and frees more than half a GiB.
ROOM = 1.75 * 1024**3


@pytest.fixture
def stage(tmp_path) -> Stage:
    return Stage(tmp_path / "stage").reset(seconds=0)


def decode(stage: Stage, run: Run, threshold: float) -> tuple[int, str]:
    """The command ``smotext decode`` where Ray lets the machine use that share of its memory."""
    scarce = {
        "RAY_memory_usage_threshold": f"{threshold:.4f}",
        "RAY_memory_monitor_refresh_ms": "100",
    }
    with ray_node(stage, 6, free_ports(1)[0], **scarce) as (address, _):
        return Driver(stage, "decode", run.uri, RAY_ADDRESS=address).ends()


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


def test_a_decoder_that_always_takes_all_memory_ends_the_job(stage, tmp_path):
    run = planned(tmp_path / "run", POINTS, BLOCK)
    stage.name("hungry", *range(POINTS))
    code, said = decode(stage, run, just_above())
    assert code == 1, said
    sentence = failure(said)
    assert sentence.startswith("smotext: failed: The decoder crashed")
    assert "that ran out of memory" in sentence and "lower resources.decoder_actors" in sentence


def test_a_machine_on_which_nothing_can_run_ends_the_job(stage, tmp_path):
    # Ray tries each task again, ever later, as often as RAY_task_oom_retries says: minutes.
    run = planned(tmp_path / "run", POINTS, BLOCK)
    code, said = decode(stage, run, threshold=0.05)  # less than is used already
    assert code == 1, said
    assert failure(said).startswith("smotext: failed: A task ran out of memory every time")
