"""The status from the run directory alone: what is done, how fast, and whether it stands still."""

from __future__ import annotations

import io
import json
import os
import time

import pytest
from handmade_run import build
from rich.console import Console

from smotext_ray.cli.main import main
from smotext_ray.cli.status import show_status
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import WeightFacts
from smotext_ray.run.lease import hold
from smotext_ray.run.log import run_name
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.status import stages, status_json

WANTED = {"grain": 3, "ship": 2}  # five points a round
NOW = 2_000_000_000.0


def printed(run):
    """What is printed, on one line, whatever the table around it."""
    console = Console(record=True, width=80, file=io.StringIO())
    show_status(run, console)
    return " ".join(console.export_text().translate(str.maketrans("│┃", "  ")).split())


def stage(run, name, now=NOW):
    return next(stage for stage in stages(run, Manifest.read(run), now) if stage.stage == name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return build(tmp_path_factory.mktemp("status"), WANTED, rounds=2)


@pytest.fixture
def decoding(tmp_path):
    """A run that has decoded 2 of 5, and a minute later 2 more of them, until `NOW`."""
    run = build(tmp_path, WANTED, until="plan")
    done = build(tmp_path / "other", WANTED, until="decode")
    files = sorted(done.table("samples").files)
    (first,) = [file for file in files if done.fs.get_file_info(file).base_name == "1.parquet"]
    for number, at in ((0, NOW - 60), (1, NOW)):
        path = f"{run.make('samples', 'round-1')}/set_write_{number:06}-0.parquet"
        done.fs.copy_file(first, path)
        os.utime(path, (at, at))
    return run


def test_a_finished_run(finished):
    text = printed(finished)
    for row in (
        "corpus done 10 0.5",
        "embed done 10 2.0",
        "plan round-1 done 5 0.5",
        "decode round-1 done 5 of 5 4.0",
        "decode round-2 done 5 of 5 4.0",
        "result done 15 0.2",
    ):
        assert row in text
    assert "working on it" not in text and "left" not in text


def test_the_weights_of_a_variant_are_a_stage(tmp_path):
    run = build(tmp_path, WANTED, until="plan")
    assert "weigh" not in {stage.stage for stage in stages(run, Manifest.read(run))}
    manifest = Manifest.read(run)
    manifest.weights = WeightFacts(files={}, seconds=1.25)
    manifest.save(run)
    assert "weigh done 1.2" in printed(run)


def test_no_file_of_a_stage_that_is_done_is_looked_at(finished, monkeypatch):
    monkeypatch.setattr("smotext_ray.run.status.write_progress", lambda *_: pytest.fail("looked"))
    assert [stage.state for stage in stages(finished, Manifest.read(finished))] == ["done"] * 8


def test_a_stage_running_has_a_rate_and_a_time_left(decoding):
    seen = stage(decoding, "decode round-1", NOW + 30)
    assert (seen.state, seen.rows, seen.of) == ("running", 4, 5)
    assert seen.rows_per_second == pytest.approx(2 / 60)
    assert seen.seconds_left == pytest.approx(30)
    assert (seen.last_block, seen.quiet_seconds) == ("2033-05-18T03:33:20+00:00", 30)
    assert not seen.is_quiet
    text = printed(decoding)
    assert "decode round-1 running 4 of 5" in text and "result pending" in text
    assert "decode round-1: 0.0333 rows/s, 30 s left; last block 0 s ago." in text


@pytest.mark.parametrize(("silence", "is_quiet"), [(290, False), (310, True)])
def test_a_run_that_stands_still_is_told_from_one_that_works(decoding, silence, is_quiet):
    assert stage(decoding, "decode round-1", NOW + silence).is_quiet == is_quiet


def test_blocks_that_always_took_long_are_waited_for(decoding):
    path = decoding.at("samples", "round-1", "set_write_000000-0.parquet")
    os.utime(path, (NOW - 1000, NOW - 1000))
    assert not stage(decoding, "decode round-1", NOW + 2900).is_quiet
    assert stage(decoding, "decode round-1", NOW + 3100).is_quiet


def test_standing_still_is_said_in_words(decoding):
    for number in (0, 1):
        path = decoding.at("samples", "round-1", f"set_write_{number:06}-0.parquet")
        os.utime(path, (time.time() - 780 + number,) * 2)
    assert "decode round-1: no block for 13 minutes; it may be stopped or stuck." in printed(
        decoding
    )


def test_a_clock_that_runs_behind_makes_no_negative_time(decoding):
    assert stage(decoding, "decode round-1", NOW - 5).quiet_seconds == 0


def test_what_a_killed_writer_left_half_written_is_passed_over(decoding):
    with open(decoding.at("samples", "round-1", "set_write_000009-0.parquet"), "wb") as file:
        file.write(b"PAR1")
    assert stage(decoding, "decode round-1").rows == 4


def test_the_first_accepted_texts_are_printed_while_texts_are_made(decoding, finished):
    with open(decoding.at("samples", "round-1", "set_write_000000-1.parquet"), "wb") as file:
        file.write(b"PAR1")  # one that is being written
    os.utime(file.name, (NOW - 90, NOW - 90))
    text = printed(decoding)
    # Both files have the same two rows.
    shown = (f"New text (grain): new text {number} on grain" for number in (0, 1, 0))
    assert " ".join(shown) in text
    assert "New text" not in printed(finished)


def test_a_round_to_do(tmp_path):
    text = printed(build(tmp_path, WANTED, until="plan"))
    assert "decode round-1 pending 0 of 5" in text and "result pending" in text


def test_an_embedding_and_a_plan_running(tmp_path):
    run = build(tmp_path, WANTED, until="plan")
    manifest = Manifest.read(run)
    manifest.rounds = []
    manifest.save(run)
    seen = stage(run, "plan round-1")
    assert (seen.state, seen.rows, seen.of, seen.seconds_left) == ("running", 5, None, None)
    del manifest.stages["embed"]
    manifest.save(run)
    seen = stage(run, "embed")
    assert (seen.state, seen.rows, seen.of) == ("running", 10, 10)
    assert all(stage.stage != "plan round-1" for stage in stages(run, Manifest.read(run)))


def test_a_run_that_has_just_begun(tmp_path):
    run = build(tmp_path, {}, until="embed")
    run.clear("embeddings")
    manifest = Manifest.read(run)
    manifest.stages = {}
    manifest.save(run)
    text = printed(run)
    assert "corpus pending" in text and "embed pending" in text and "done" not in text


def test_who_works_on_it(tmp_path):
    run = build(tmp_path, WANTED, until="plan")
    assert "No process is working on it" in printed(run)
    with hold(run, "augment"):
        assert f"smotext augment is working on it: process {os.getpid()} on " in printed(run)
        assert json.loads(status_json(run))["worker"]["pid"] == os.getpid()
    assert json.loads(status_json(run))["worker"] is None


def test_a_claim_that_looks_expired_is_told_and_not_hidden(tmp_path):
    run = build(tmp_path, WANTED, until="plan")
    with hold(run, "augment"):
        ahead = time.time() + 600  # of a machine whose clock is ten minutes ahead
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("smotext_ray.run.status.time.time", lambda: ahead)
            text, found = printed(run), json.loads(status_json(run))["worker"]
    assert "has not been heard of for 10 minutes, unless the clocks differ" in text
    assert found["pid"] == os.getpid() and 500 < found["silent_seconds"] < 700


def test_for_machines(decoding, capsys):
    assert main(["status", decoding.uri, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == run_name(decoding)
    (running,) = [stage for stage in told["stages"] if stage["state"] == "running"]
    assert (running["stage"], running["rows"], running["of"]) == ("decode round-1", 4, 5)
    assert running["rows_per_second"] == pytest.approx(2 / 60)


def test_no_keys_are_shown(finished):
    run = Run(finished.uri)
    run.uri = "s3://AKIA:secret@bucket/run?endpoint_override=host&secret_key=other"
    for text in (printed(run), status_json(run)):
        assert "s3://bucket/run" in text
        assert "secret" not in text and "AKIA" not in text


def test_markup_in_the_address_of_a_run(tmp_path):
    assert "[/x]" in printed(build(tmp_path / "[/x]", WANTED))
