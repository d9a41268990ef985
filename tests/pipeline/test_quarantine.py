"""Rows that end the process: found at the next tries, and no other row is given up for them."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_ray.models.engine import Candidates
from smotext_ray.pipeline import quarantine
from smotext_ray.pipeline.actors import with_candidates
from smotext_ray.pipeline.quarantine import AttemptLog, ReadWriteLock, RowQuarantine
from smotext_ray.run.directory import Run

TRIES = 2


class Ended(BaseException):
    """Stands for the end of the process, which no ``except Exception`` sees."""


class Process:
    """What ends a process at some rows; counts the tries that return."""

    def __init__(self, poison=(), dead=False):
        self.poison, self.dead = set(poison), dead

    def actor(self):
        return lambda: self

    def __call__(self, table):
        ids = table["sample_id"].to_pylist()
        if self.dead or self.poison & set(ids):
            raise Ended
        return with_candidates(table, [Candidates([f"text {i}"], ["stop"], [1]) for i in ids])


@pytest.fixture(autouse=True)
def as_in_ray(monkeypatch):
    monkeypatch.setattr(quarantine, "report_done", lambda restarts: restarts.done.remote("one"))
    monkeypatch.setattr(quarantine, "report_one_row", lambda restarts, what: None)


def restarts():
    told = []
    handle = SimpleNamespace(done=SimpleNamespace(remote=told.append))
    return handle, told


def decode(uri, table, process):
    """As Ray does: a new process after each that ended. The table, and how many ended."""
    for ended in range(100):
        actor = RowQuarantine(process.actor(), {}, uri, "notes", TRIES, restarts()[0])
        try:
            return actor(table), ended
        except Ended:
            continue
    raise AssertionError("it does not end")


def block(*ids):
    return pa.table({"sample_id": pa.array(ids, pa.int64()), "label": ["a"] * len(ids)})


@pytest.fixture
def uri():
    return f"memory://{uuid.uuid4()}/run"


def test_a_block_of_good_rows_is_decoded_at_once(uri):
    table = block(3, 1, 2)
    made, ended = decode(uri, table, Process())
    assert ended == 0
    assert made.equals(Process()(table))
    assert AttemptLog(Run(uri), "notes").held_against([1, 2, 3]) == (0, {})


@pytest.mark.parametrize("fs", ["memory", "local"])
@pytest.mark.parametrize("poisoned", [0, 5, 9])
def test_a_poisoned_row_is_found_and_set_aside(uri, tmp_path, poisoned, fs):
    where = uri if fs == "memory" else str(tmp_path / "run")
    table = block(*range(10))
    made, ended = decode(where, table, Process({poisoned}))
    assert ended == 2 * TRIES
    errors = dict(enumerate(made["error"].to_pylist()))
    assert {row for row, error in errors.items() if error} == {poisoned}
    assert errors[poisoned] == "the engine crashed 4 times on it, 2 of them on it alone"
    good = [row for row, error in errors.items() if not error]
    assert made.take(good).equals(Process()(table).take(good))
    assert made.schema == Process()(table).schema


@settings(max_examples=50)
@given(st.sets(st.integers(0, 11)), st.integers(1, 12))
def test_all_poisoned_rows_are_set_aside_and_no_other(poison, rows):
    table = block(*range(rows))
    made, ended = decode(f"memory://{uuid.uuid4()}/run", table, Process(poison))
    found = {row for row, error in enumerate(made["error"].to_pylist()) if error}
    assert found == {row for row in poison if row < rows}
    if rows == 1:
        assert ended == 2 * TRIES * len(found)  # together is alone
    else:
        assert ended == TRIES * bool(found) + TRIES * len(found)


def test_what_a_row_held_up_is_decoded_as_before_by_the_next_job(uri):
    decode(uri, block(0, 1, 2), Process({1}))
    made, ended = decode(uri, block(0, 1, 2), Process({1}))
    assert ended == 0
    assert [bool(error) for error in made["error"].to_pylist()] == [False, True, False]


def test_ends_that_are_not_the_rows_fault_cost_no_row(uri):
    table = block(*range(6))
    process = Process(dead=True)
    actor = RowQuarantine(process.actor(), {}, uri, "notes", TRIES, restarts()[0])
    for _ in range(2 * TRIES + 1):  # after which the job would be stopped
        with pytest.raises(Ended):
            actor(table)
    process.dead = False
    made, ended = decode(uri, table, process)
    assert (ended, made["error"].to_pylist()) == (0, [""] * 6)


def test_rows_that_others_have_in_hand_are_not_held_against_a_block(uri):
    others = AttemptLog(Run(uri), "notes")
    with others.trying([0, 5]), others.trying([7]), others.trying([7]):
        assert others.held_against([1, 2, 3]) == (0, {})
        assert others.held_against([0, 5, 7]) == (1, {7: 2})


def test_an_exception_is_no_end_of_the_process(uri):
    notes = AttemptLog(Run(uri), "notes")
    with pytest.raises(ValueError), notes.trying([1, 2]):
        raise ValueError
    assert notes.held_against([1, 2]) == (0, {})


def test_each_row_that_is_decoded_alone_is_progress(uri):
    notes = AttemptLog(Run(uri), "notes")
    for _ in range(TRIES):
        with pytest.raises(Ended), notes.trying([4, 9]):
            raise Ended
    handle, told = restarts()
    RowQuarantine(Process().actor(), {}, uri, "notes", TRIES, handle)(block(4, 9))
    assert told == ["one", "one"]


def test_an_empty_block(uri):
    table = block(1).slice(0, 0)
    made, ended = decode(uri, table, Process())
    assert (len(made), ended) == (0, 0)
    assert made.schema == Process()(block(1)).schema


def test_one_alone_and_many_together():
    turns, at, most, alone_with = ReadWriteLock(), Counter(), Counter(), []
    lock = threading.Lock()

    def go(kind):
        with turns.alone() if kind == "alone" else turns.shared():
            with lock:
                at[kind] += 1
                most[kind] = max(most[kind], at[kind])
                if at["alone"]:
                    alone_with.append(at.total())
            time.sleep(0.01)
            with lock:
                at[kind] -= 1

    kinds = (["shared"] * 5 + ["alone"]) * 4
    with ThreadPoolExecutor(len(kinds)) as pool:
        list(pool.map(go, kinds))
    assert most["alone"] == 1 and most["shared"] > 1
    assert alone_with == [1] * 4


def test_a_row_is_tried_alone_while_other_threads_wait(uri):
    at_once, most = Counter(), []
    lock = threading.Lock()

    class Slow(Process):
        def __call__(self, table):
            with lock:
                at_once["calls"] += 1
                most.append((len(table), at_once["calls"]))
            time.sleep(0.01)
            with lock:
                at_once["calls"] -= 1
            return super().__call__(table)

    notes = AttemptLog(Run(uri), "notes")
    for _ in range(TRIES):
        with suppress(Ended), notes.trying([0, 1, 2]):
            raise Ended  # is no Exception: the note stays
    actor = RowQuarantine(Slow().actor(), {}, uri, "notes", TRIES, restarts()[0])
    blocks = [block(0, 1, 2), *(block(i, i + 1) for i in range(3, 19, 2))]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(actor, blocks))
    assert [table["sample_id"].to_pylist() for table in made] == [
        b["sample_id"].to_pylist() for b in blocks
    ]
    assert [others for rows, others in most if rows == 1] == [1] * 3
    assert max(others for rows, others in most if rows == 2) > 1
