"""Progress is counted, shown to the end, and never the reason that a job fails."""

from __future__ import annotations

import logging

import pytest

from smotext_ray import progress
from smotext_ray.progress import Counter, stage_progress


def test_counter():
    counter = Counter()
    assert counter.get() == (0, 0)
    counter.add(3)
    counter.add(0, 40)
    counter.add(2, 2)
    assert counter.get() == (5, 42)


@pytest.fixture(scope="module")
def ray():
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
    )
    yield ray
    ray.shutdown()


class Bar:
    """Stands for the bar on the terminal."""

    shown: list[int]

    def __init__(self, **options):
        self.n = 0
        Bar.total = options["total"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        Bar.last = self.n

    def update(self, rows):
        self.n += rows

    def set_postfix_str(self, text):
        Bar.postfix = text


def test_a_stage_is_shown_to_its_end_and_logged(ray, monkeypatch, caplog):
    monkeypatch.setattr(progress, "tqdm", Bar)
    monkeypatch.setattr(progress.log, "propagate", True)
    with caplog.at_level(logging.INFO, "smotext_ray"), stage_progress("embed", 7) as counter:
        ray.get([counter.add.remote(3), counter.add.remote(4, 50)])
    assert (Bar.total, Bar.last, Bar.postfix) == (7, 7, "50 tokens")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "embed: 7 rows to do"
    assert lines[-1].startswith("embed: done, 7 rows, 50 tokens")


def test_the_counter_holds_no_cpu(ray):
    with stage_progress("embed", 1) as counter:
        ray.get(counter.get.remote())
        assert ray.available_resources()["CPU"] == 2


def test_a_counter_that_dies_does_not_end_the_stage(ray):
    with stage_progress("embed", 5) as counter:
        ray.get(counter.add.remote(3))
        ray.kill(counter, no_restart=False)
        counter.add.remote(2)
    # And it is gone with its stage.
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(counter.get.remote())


def test_the_error_of_the_stage_comes_through(ray):
    with pytest.raises(KeyError, match="mine"), stage_progress("embed", 5):
        raise KeyError("mine")
