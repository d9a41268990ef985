"""An actor that ends is started again, but not without end, and the job says why it stopped."""

from __future__ import annotations

import os
import signal
import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.cluster import restarts as module
from smotext_ray.cluster.restarts import Restarts, bounded_restarts, supervised
from smotext_ray.config.schema import ResourcesConfig
from smotext_ray.errors import Stopped, UserError


def test_ends_are_counted_from_what_was_done_last():
    restarts = Restarts()
    assert restarts.begin("a") == (0, 0, "")
    restarts.at("a", "rows 1 to 5")
    assert restarts.begin("a") == (1, 0, "rows 1 to 5")
    assert restarts.begin("a") == (2, 0, "rows 1 to 5")
    restarts.done("a")
    assert restarts.begin("a")[0] == 1


def test_ends_on_a_single_row_are_counted_by_themselves():
    restarts = Restarts()
    restarts.begin("a")
    restarts.at("a", "rows 1 to 5")
    assert restarts.begin("a")[:2] == (1, 0)
    restarts.at("a", "row 1", one_row=True)
    assert restarts.begin("a") == (1, 1, "row 1")
    assert restarts.begin("a")[:2] == (2, 1)  # ended before it had begun with a row
    restarts.at("a", "row 2", one_row=True)
    restarts.at("a", "rows 6 to 9")
    assert restarts.begin("a")[:2] == (3, 1)
    restarts.done("a")
    assert restarts.begin("a")[:2] == (1, 0)


def test_what_another_actor_does_does_not_count():
    restarts = Restarts()
    for actor in ("a", "b", "a"):
        restarts.begin(actor)
    restarts.done("b")
    assert restarts.begin("a") == (2, 0, "")
    assert restarts.begin("b") == (1, 0, "")


@given(st.lists(st.sampled_from(["begin", "done"]), min_size=1))
def test_never_more_ends_than_beginnings_since_the_last_done(events):
    restarts = Restarts()
    restarts.begin("a")
    for event in events:
        getattr(restarts, event)("a")
    since = events[::-1].index("done") if "done" in events else len(events)
    assert restarts.begin("a")[0] == since + 1


# In Ray


class Adds:
    def __init__(self, number, error=None):
        if error is not None:
            raise error
        self.number = number

    def __call__(self, table):
        if self.number is None:
            raise KeyError("mine")
        return table.append_column("sum", pa.array([i + self.number for i in ids(table)]))


def ids(table):
    return table["id"].to_pylist()


@pytest.fixture(scope="module")
def ray(shared_ray):
    import sys

    import ray
    from ray import cloudpickle
    from ray.data import DataContext

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with DataContext.current(DataContext.get_current().copy()):
        DataContext.get_current().enable_progress_bars = False
        yield ray


def run(ray, given, resources=None):
    from ray.data import ActorPoolStrategy

    resources = resources or ResourcesConfig()
    with bounded_restarts(resources, lower="resources.decoder_actors") as restarts:
        rows = ray.data.range(6, override_num_blocks=2).map_batches(
            **supervised(Adds, given, "adder", restarts, resources),
            compute=ActorPoolStrategy(size=1),
            batch_format="pyarrow",
            batch_size=None,
        )
        return sorted(row["sum"] for row in rows.take_all())


def test_an_actor_works_as_it_does_without(ray):
    assert run(ray, {"number": 10}) == [10, 11, 12, 13, 14, 15]


def test_a_user_error_is_not_tried_again(ray):
    with pytest.raises(Exception, match="UserError: the path is wrong") as caught:
        run(ray, {"number": 1, "error": UserError("the path is wrong.")})
    assert not isinstance(caught.value, Stopped)


def test_a_constructor_that_fails_is_told_with_its_own_error(ray):
    with pytest.raises(Stopped) as caught:
        run(
            ray,
            {"number": 1, "error": OSError("the model\nis damaged")},
            ResourcesConfig(max_attempts=1),
        )
    assert str(caught.value) == (
        "The adder could not be started, 3 times in a row: OSError: the model is damaged."
    )


def test_memory_is_named_with_the_setting_to_lower(ray, monkeypatch):
    monkeypatch.setattr(module, "ended_for_memory", lambda since: 4)
    with pytest.raises(Stopped) as caught:
        run(ray, {"number": 1, "error": MemoryError()}, ResourcesConfig(max_attempts=1))
    assert str(caught.value) == (
        "The adder could not be started, 3 times in a row: MemoryError; Ray killed 4 processes "
        "that ran out of memory: lower resources.decoder_actors, or use machines with more memory."
    )


def test_an_exception_of_the_work_comes_through_as_it_is(ray):
    with pytest.raises(Exception, match="mine") as caught:
        run(ray, {"number": None})
    assert not isinstance(caught.value, Stopped)


def test_counts_outlast_the_actor_that_counts(ray):
    with bounded_restarts(ResourcesConfig()) as restarts:
        for _ in range(3):
            ray.get(restarts.begin.remote("a"))
        ray.get(restarts.at.remote("a", "row 7", one_row=True))
        ray.get(restarts.begin.remote("a"))
        time.sleep(3 * module.KEEP_SECONDS)
        pid = ray.get(restarts.__ray_call__.remote(lambda self: os.getpid()))
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while (begun := ray.get(restarts.begin.remote("a"))) is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert begun == (3, 1, "row 7")
        assert ray.get(restarts.__ray_call__.remote(lambda self: os.getpid())) != pid


def test_a_task_without_memory_is_told_in_one_sentence(ray):
    with pytest.raises(Stopped, match="out of memory"), bounded_restarts(ResourcesConfig()):
        raise ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on it")


def test_ray_tells_how_processes_ended(ray):
    assert module.ended_for_memory(since=0) == 0
