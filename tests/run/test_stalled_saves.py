"""A manifest is saved by whoever holds the lease, and by nobody who has lost it."""

from __future__ import annotations

import json
import time

import pytest

from smotext_ray.config.schema import RunConfig
from smotext_ray.run import claims
from smotext_ray.run import lease as module
from smotext_ray.run.directory import LEASE, Run
from smotext_ray.run.facts import InputFacts
from smotext_ray.run.lease import Lease, LeaseLost, hold
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import existing_manifest, new_manifest


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(str(tmp_path / "run"))


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.05)


def manifest_of(number: int):
    facts = InputFacts(rows=number, class_counts={})
    return new_manifest(RunConfig(), {}, "2026-01-01", facts)


def rows_of(run: Run) -> int:
    return Manifest.read(Run(run.uri)).input.rows


@pytest.fixture
def two(run, monkeypatch):
    """A holder that was stalled when the other one took over, and that one."""
    monkeypatch.setattr(claims, "TTL_SECONDS", 0.2)
    monkeypatch.setattr(module, "RENEW_SECONDS", 60)
    monkeypatch.setattr(module, "identity", lambda pid: "")  # on another machine each
    first, second = Run(run.uri), Run(run.uri)
    with pytest.raises(LeaseLost), hold(first, "augment"):
        manifest_of(1).save(first)
        time.sleep(0.3)
        with hold(second, "expand"):
            yield first, second


def test_who_lost_the_lease_saves_nothing(two):
    first, second = two
    manifest_of(2).save(second)
    with pytest.raises(LeaseLost):
        manifest_of(3).save(first)
    assert rows_of(first) == 2


@pytest.mark.parametrize("saved", [False, True])
def test_a_save_that_was_stalled_is_never_read(two, saved):
    first, second = two
    if saved:
        manifest_of(2).save(second)
    first.check_lease = lambda: None  # it had looked before it was stalled
    manifest_of(3).save(first)
    assert json.loads(first.read("manifest.json"))["input"]["rows"] == 3
    assert rows_of(first) == (2 if saved else 1)
    manifest_of(4).save(second)
    assert rows_of(first) == 4


def test_the_next_holder_goes_on_from_the_last_save(run):
    tokens = []
    for number in (1, 2, 3):
        with hold(run, "augment"):
            assert number == 1 or rows_of(run) == number - 1
            manifest_of(number).save(run)
        tokens.append([f.base_name for f in run.files(LEASE)])
    assert tokens == sorted(tokens) and all(len(held) == 1 for held in tokens)


@pytest.mark.parametrize("content", [b"", b'{"format": 1,'])
def test_a_manifest_that_a_power_failure_has_torn_is_read_from_its_copy(run, content):
    with hold(run, "augment"):
        manifest_of(5).save(run)
    run.write(content, "manifest.json")
    assert rows_of(run) == 5


def test_a_save_without_a_lease_is_read_too(run):
    with hold(run, "augment"):
        manifest_of(1).save(run)
    manifest_of(2).save(run)
    assert rows_of(run) == 2


def test_a_holder_that_ended_without_a_save_still_keeps_an_earlier_one_out(run, monkeypatch):
    monkeypatch.setattr(claims, "TTL_SECONDS", 0.2)
    monkeypatch.setattr(module, "identity", lambda pid: "")  # on another machine each
    slow = Lease(Run(run.uri), "augment")
    slow.take()
    time.sleep(0.3)
    with hold(run, "augment"):
        pass
    slow._write()  # a renewal that was stalled brings its claim back
    with pytest.raises(LeaseLost):
        slow.check()
    assert existing_manifest(run) is None  # the run has still not begun
