"""Drivers that stall, in many drawn schedules: no save is lost or read out of order."""

from __future__ import annotations

import pytest
from simulated_drivers import Driver, world_of

SOME, MANY = 30, 1000
ENTRIES = 3


def play(seed: int, drivers: int) -> tuple[list[str], int, int]:
    """What went wrong, how often the lease was held, and entries that were saved."""
    with world_of(seed) as world:
        working = [Driver(world, name, ENTRIES) for name in "abc"[:drivers]]
        world.run()
        held = sum(driver.times_held for driver in working)
        return world.wrong, held, sum(len(driver.kept) for driver in working)


def check(seeds: range) -> None:
    held = kept = 0
    for seed in seeds:
        wrong, times, saved = play(seed, drivers=2 + seed % 2)
        assert not wrong, f"schedule {seed}: {wrong[:3]}"
        held, kept = held + times, kept + saved
    print(f"{len(seeds)} schedules: the lease was held {held} times, {kept} saves")
    # The schedules are of use: leases change hands, and most of the work is done.
    assert held > 1.5 * len(seeds) and kept > 4 * len(seeds)


@pytest.mark.slow
def test_some_schedules():
    check(range(SOME))


@pytest.mark.long
def test_many_schedules():
    check(range(SOME, MANY))
