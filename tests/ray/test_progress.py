"""Progress is counted once, shown to the end, and never the reason that a job fails."""

from __future__ import annotations

import json
import logging
import time

import pytest

from smotext_ray.cluster import progress
from smotext_ray.cluster.progress import (
    MOST_EVENTS,
    Counter,
    Pace,
    StageActor,
    stage_progress,
    time_in_words,
)
from smotext_ray.run.directory import Run
from smotext_ray.run.log import log_to_run, run_name


def test_counter():
    counter = Counter()
    assert counter.get() == (0, 0)
    counter.add(3)
    counter.add(0, 40)
    counter.add(2, 2)
    assert counter.get() == (5, 42)


def test_rows_that_are_done_again_count_once_and_their_tokens_again():
    counter = Counter()
    samples = {("accepted", ""): 3, ("rejected", "truncated"): 1}
    for first in (10, 14, 10):
        counter.add(4, 7, first=first, samples=samples)
    counts, events = counter.see(0)
    assert counts == {
        ("smotext_rows",): 8,
        ("smotext_repeated_rows",): 4,
        ("smotext_tokens",): 21,
        ("smotext_samples", "accepted", ""): 6,
        ("smotext_samples", "rejected", "truncated"): 2,
    }
    assert events == []


def test_events_are_told_once_and_are_bounded():
    counter = Counter()
    counter.restarted("decoder", "sample_id 1 to 9")
    counter.log_event("no text", {"sample_ids": [7]})
    counts, events = counter.see(0)
    assert counts["smotext_restarts", "decoder"] == 1
    sentence = "Ray has restarted the decoder, which stopped at sample_id 1 to 9"
    assert events == [(sentence, {"actor": "decoder"}), ("no text", {"sample_ids": [7]})]
    assert counter.see(1)[1] == events[1:]
    for _ in range(2 * MOST_EVENTS):
        counter.log_event("again", {})
    assert len(counter.see(0)[1]) == MOST_EVENTS


def test_a_restart_is_counted_where_it_is_seen():
    stage = StageActor()
    stage.begin("one", "decoder")
    stage.begin("two", "decoder")
    stage.at("one", "sample_id 1 to 9")
    stage.begin("one", "decoder")
    counts, events = stage.see(0)
    assert counts == {("smotext_restarts", "decoder"): 1}
    assert "sample_id 1 to 9" in events[0][0]


class Metrics:
    """Stands for Ray's metrics."""

    def __init__(self, run, stage):
        self.counted, self.to_do = [], []

    def count(self, *key, number):
        assert number > 0
        self.counted.append((key, number))

    def set_rows_to_do(self, rows):
        self.to_do.append(rows)


def test_a_counter_that_began_again_at_0_takes_nothing_back(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "StageMetrics", Metrics)
    monkeypatch.setattr(progress, "progress_bar", Bar)
    watch = progress._Watch("embed", 20, 2, Run(str(tmp_path)), counter=None)
    with Bar(total=20, initial=2) as bar:
        for rows in (5, 5, 9, 3, 4):
            watch._pass_on(Counts({("smotext_rows",): rows}), [], bar)
    assert [number for _, number in watch.metrics.counted] == [5, 4, 3, 1]
    assert watch.metrics.to_do == [13, 13, 9, 15, 14]


Counts = progress.collections.Counter


def test_what_is_loaded_is_logged_once_and_is_no_warning(
    tmp_path, monkeypatch, caplog, log_at_root
):
    monkeypatch.setattr(progress, "StageMetrics", Metrics)
    counter = Counter()
    for _ in range(2):
        counter.phase("loading the LLM")
    watch = progress._Watch("decode round-1", 20, 0, Run(str(tmp_path)), counter=None)
    with caplog.at_level(logging.INFO, "smotext_ray"), Bar(total=20, initial=0) as bar:
        watch._pass_on(*counter.see(0), bar)
        watch._pass_on(*counter.see(1), bar)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "decode round-1: loading the LLM")
    ]


@pytest.mark.parametrize("has_bar", [False, True])
def test_the_first_accepted_texts_are_shown_above_a_bar_and_never_logged(
    tmp_path, monkeypatch, caplog, log_at_root, has_bar
):
    monkeypatch.setattr(progress, "StageMetrics", Metrics)
    monkeypatch.setattr(progress, "is_shown", lambda: has_bar)
    counter = Counter()
    for text in ("A ship\nsank\x1b[2J.", "w" * 300, "Third.", "Fourth."):
        counter.accepted(text)
    watch = progress._Watch("decode round-1", 20, 0, Run(str(tmp_path)), counter=None)
    with caplog.at_level(logging.DEBUG, "smotext_ray"), Bar(total=20, initial=0) as bar:
        watch._pass_on(*counter.see(0), bar)
        watch._pass_on(*counter.see(3), bar)
    shown = [r"New text: A ship sank\x1b[2J.", f"New text: {'w' * 200}...", "New text: Third."]
    assert bar.written == (shown if has_bar else [])
    assert not caplog.records


@pytest.mark.parametrize("has_bar", [False, True])
def test_without_a_bar_the_log_tells_how_far_a_stage_is(
    tmp_path, monkeypatch, caplog, log_at_root, has_bar
):
    monkeypatch.setattr(progress, "StageMetrics", Metrics)
    monkeypatch.setattr(progress, "is_shown", lambda: has_bar)
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    watch = progress._Watch("decode round-1", 120, 0, Run(str(tmp_path)), counter=None)
    with caplog.at_level(logging.DEBUG, "smotext_ray"), Bar(total=120, initial=0) as bar:
        for rows in (0, 20, 40):
            watch._pass_on(Counts({("smotext_rows",): rows, ("smotext_tokens",): 9}), [], bar)
    assert {record.levelname for record in caplog.records} == {"DEBUG" if has_bar else "INFO"}
    # 20 rows took the 30 s between two looks.
    assert [record.getMessage() for record in caplog.records] == [
        "decode round-1: 0 of 120 rows (0%), 9 tokens",
        "decode round-1: 20 of 120 rows (16%), 9 tokens",
        "decode round-1: 40 of 120 rows (33%), 9 tokens, about 2 min left",
    ]


def test_the_time_left_counts_from_the_first_rows_on():
    pace = Pace(100)
    assert pace.seconds_left(0, 0.0) is None  # loading
    assert pace.seconds_left(10, 60.0) is None
    assert pace.seconds_left(20, 70.0) == 80.0
    assert pace.seconds_left(100, 150.0) == 0.0
    assert [time_in_words(s) for s in (7.4, 110.0, 9000.0)] == ["7 s", "2 min", "2.5 h"]


@pytest.fixture(scope="module")
def ray(shared_ray):
    import ray

    return ray


@pytest.fixture
def run(tmp_path):
    return Run(str(tmp_path / "run"))


class Bar:
    """Stands for the bar on the terminal."""

    def __init__(self, **options):
        self.n = options["initial"]
        self.written = []
        Bar.total = options["total"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        Bar.last = self.n

    def update(self, rows):
        self.n += rows

    def set_postfix_str(self, text):
        Bar.postfix = text

    def write(self, text):
        self.written.append(text)


def test_a_stage_is_shown_to_its_end_and_logged(ray, run, monkeypatch, caplog, log_at_root):
    monkeypatch.setattr(progress, "progress_bar", Bar)
    with (
        caplog.at_level(logging.INFO, "smotext_ray"),
        stage_progress("embed", 9, run, before=2) as counter,
    ):
        ray.get([counter.add.remote(3), counter.add.remote(4, 50)])
    assert (Bar.total, Bar.last, Bar.postfix) == (9, 9, "50 tokens")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "embed: 7 of 9 rows to do"
    assert lines[-1].startswith("embed: done, 7 rows, 50 tokens")


def test_what_an_actor_tells_is_in_the_log_of_the_run(ray, run, monkeypatch):
    monkeypatch.setattr(progress.log, "level", logging.DEBUG)
    log_to_run(run)
    with stage_progress("decode round-1", 9, run) as counter:
        ray.get(
            counter.log_event.remote("a sample has no text", {"sample_ids": [7], "reason": "odd"})
        )
    (file,) = run.fs.get_file_info(_files(run))
    lines = [json.loads(line) for line in run.read("logs", file.base_name).splitlines()]
    (told,) = [line for line in lines if line["level"] == "WARNING"]
    assert told.pop("time")
    assert told == {
        "level": "WARNING",
        "message": "decode round-1: a sample has no text",
        "run": run_name(run),
        "stage": "decode round-1",
        "sample_ids": [7],
        "reason": "odd",
    }
    assert lines[-1]["rows"] == 0 and lines[-1]["stage"] == "decode round-1"
    progress.log.removeHandler(progress.log.handlers[-1])


def _files(run):
    from pyarrow.fs import FileSelector

    return FileSelector(run.at("logs"))


def test_the_counter_holds_no_cpu(ray, run):
    with stage_progress("embed", 1, run) as counter:
        assert ray.get(counter.__ray_call__.remote(held)) == {}


def held(actor):
    import ray

    return ray.get_runtime_context().get_assigned_resources()


def test_a_counter_that_dies_does_not_end_the_stage(ray, run):
    with stage_progress("embed", 5, run) as counter:
        ray.get(counter.add.remote(3))
        ray.kill(counter, no_restart=False)
        counter.add.remote(2)
    # And it is gone with its stage, though a call may reach it before its end does.
    deadline = time.monotonic() + 60
    with pytest.raises(ray.exceptions.RayActorError):
        while time.monotonic() < deadline:
            ray.get(counter.get.remote())
            time.sleep(0.1)


def test_the_error_of_the_stage_comes_through(ray, run):
    with pytest.raises(KeyError, match="mine"), stage_progress("embed", 5, run):
        raise KeyError("mine")
