"""Failures that come again at every try: each has an end, and no row too many is given up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_tools import Driver, Stage, check_whole, ray_nodes, samples
from fake_stages import CONSTRUCTOR_FAILS, ENGINE_DIES
from planned_run import failure, planned

from smotext_ray.config.schema import ResourcesConfig
from smotext_ray.run.directory import Run

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

POINTS, BLOCK = 20, 5
TRIES = ResourcesConfig().max_attempts
IN_FLIGHT = ResourcesConfig().decode_blocks_in_flight


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[tuple[Stage, str]]:
    stage = Stage(tmp_path_factory.mktemp("faults") / "stage")
    with ray_nodes(stage, cpus=[6]) as (address, _):
        yield stage, address


@pytest.fixture
def stage(shared) -> Stage:
    return shared[0].reset(seconds=0)


@pytest.fixture
def decode(shared, stage) -> Callable[[Run], tuple[int, str]]:
    """The command ``smotext decode``: its exit code, and what it said."""
    return lambda run: Driver(stage, "decode", run.uri, RAY_ADDRESS=shared[1]).ends()


def test_poisoned_rows_are_set_aside_and_no_other(stage, decode, tmp_path):
    run = planned(tmp_path, POINTS, BLOCK)
    poisoned = (0, 1, 12)
    stage.name("poison", *poisoned)
    code, said = decode(run)
    assert code in (0, 3), said
    check_whole(run, errors={row: samples(run)[row]["reason"] for row in poisoned})
    for row in poisoned:
        assert f"{TRIES} of them on it alone" in samples(run)[row]["reason"]
    ended = len({call["pid"] for call in stage.calls("decoder")}) - 1
    print(f"{len(poisoned)} poisoned rows in two blocks ended {ended} processes")
    # Blocks are decoded at once: an end counts against all that are in the process.
    assert TRIES + TRIES * len(poisoned) <= ended <= 2 * TRIES + TRIES * len(poisoned)
    assert not Path(run.at("checkpoints", "decode-1-attempts")).exists()


def test_constructors_that_fail_and_an_engine_that_dies_are_tried_again(stage, decode, tmp_path):
    run = planned(tmp_path, POINTS, BLOCK)
    stage.order(CONSTRUCTOR_FAILS, 2)
    stage.order(ENGINE_DIES, 1)
    code, said = decode(run)
    assert code in (0, 3), said
    check_whole(run)
    # The engine takes with it what was in it: all four blocks, if they had begun.
    assert POINTS + BLOCK <= sum(stage.rows("decoder").values()) <= 2 * POINTS


def test_a_constructor_that_always_fails_ends_the_job(stage, decode, tmp_path):
    run = planned(tmp_path, POINTS, BLOCK, max_attempts=1)
    stage.order(CONSTRUCTOR_FAILS, 100)
    code, said = decode(run)
    assert code == 1
    assert "The decoder could not be started, 3 times in a row" in failure(said)
    assert "MemoryError: no room for the model on the GPU" in failure(said)
    assert len(list((stage.directory / "faults").iterdir())) == 100 - 3


@pytest.mark.long
def test_an_engine_that_always_dies_ends_the_job_and_takes_no_row_with_it(stage, decode, tmp_path):
    run = planned(tmp_path, POINTS, BLOCK)
    stage.order(ENGINE_DIES, 100)
    code, said = decode(run)
    assert code == 1
    (times,) = re.findall(r"The decoder crashed (\d+) times in a row", failure(said))
    # Twice with each of the blocks in the process, and then on single rows.
    assert 2 * TRIES + 1 <= int(times) <= (IN_FLIGHT + 2) * TRIES + 1
    assert re.search(r"last at sample_id \d+( to \d+)?;", failure(said))
    for fault in (stage.directory / "faults").iterdir():
        fault.unlink()
    code, said = decode(run)
    assert code in (0, 3), said
    check_whole(run)


@pytest.mark.long
def test_a_job_that_makes_no_progress_ends(stage, decode, tmp_path):
    run = planned(tmp_path, POINTS, BLOCK, stall_timeout_minutes=0.1)
    (stage.directory / "seconds").write_text("100000")
    code, said = decode(run)
    assert code == 1
    assert "resources.stall_timeout_minutes" in failure(said)
    assert "No block was finished for 0.1 minutes" in failure(said)
