"""JSON lines of run, stage and samples; never a text, never a key."""

from __future__ import annotations

import json
import logging
import uuid

import pytest
from pyarrow.fs import FileSelector

from smotext_ray.errors import Stopped
from smotext_ray.run.directory import Run
from smotext_ray.run.log import MOST_HELD, log, log_to_run, run_name
from smotext_ray.safe_text import safe


@pytest.fixture(params=["local", "remote"])
def run(request, tmp_path, monkeypatch):
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "level", logging.DEBUG)
    local = request.param == "local"
    yield Run(str(tmp_path / "run") if local else f"memory://{uuid.uuid4()}/run")
    for handler in log.handlers:
        handler.close()


def files(run):
    found = run.fs.get_file_info(FileSelector(run.at("logs"), allow_not_found=True))
    return sorted(info.base_name for info in found)


def lines(run):
    return [json.loads(line) for name in files(run) for line in run.read("logs", name).splitlines()]


def close():
    for handler in log.handlers:
        handler.close()


def test_a_line_holds_time_level_run_message_and_its_facts(run):
    log_to_run(run)
    log.warning("%s: odd", "decode", extra={"stage": "decode", "sample_ids": [3, 4]})
    (line,) = lines(run)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "message": "decode: odd",
        "run": run_name(run),
        "stage": "decode",
        "sample_ids": [3, 4],
    }


def test_nothing_is_made_before_the_first_line(run):
    log_to_run(run)
    close()
    assert not run.has("logs")


def test_what_is_held_back_comes_with_a_warning_or_the_end(run):
    log_to_run(run)
    log.info("one")
    log.warning("two")
    assert [line["message"] for line in lines(run)] == ["one", "two"]
    for number in range(MOST_HELD + 2):
        log.info(str(number))
    assert len(lines(run)) >= MOST_HELD + 2
    close()
    messages = [line["message"] for line in lines(run)]
    assert messages == ["one", "two", *map(str, range(MOST_HELD + 2))]


def test_a_process_writes_to_one_run_at_a_time(run, tmp_path):
    other = Run(str(tmp_path / "other"))
    log_to_run(run)
    log.info("to the first")
    log_to_run(other)
    log.info("to the other")
    assert [line["message"] for line in lines(run)] == ["to the first"]
    assert [line["message"] for line in lines(other)] == ["to the other"]


def test_of_an_error_types_and_frames_are_kept_and_no_text(run):
    log_to_run(run)

    def fail():
        text = "the patient Jane Doe\nwas here"
        try:
            raise ValueError(f"cannot encode {text!r}:\n{text}")
        except ValueError as error:
            raise RuntimeError(f"an actor failed at {text}") from error

    try:
        fail()
    except RuntimeError:
        log.debug("the command failed", exc_info=True)
    close()
    (line,) = lines(run)
    assert "Jane" not in json.dumps(line) and "was here" not in json.dumps(line)
    told = line["error"].splitlines()
    assert told[0] == "builtins.ValueError" and "builtins.RuntimeError" in told
    assert sum(frame.endswith(", in fail") for frame in told) == 2
    assert __file__ in line["error"]


def test_the_frames_of_an_actor_are_kept(run):
    log_to_run(run)
    remote = (
        'ray::EncodeActor()\n  File "actors.py", line 55, in __call__\n'
        "    encode(texts)\nValueError: Jane Doe"
    )
    try:
        raise RuntimeError(remote)
    except RuntimeError:
        log.error("failed", exc_info=True)
    (line,) = lines(run)
    assert 'File "actors.py", line 55, in __call__' in line["error"]
    assert "Jane" not in line["error"]


def test_the_package_s_own_sentence_is_kept(run):
    log_to_run(run)
    try:
        raise Stopped("No block was finished for 60 minutes.")
    except Stopped:
        log.error("failed", exc_info=True)
    assert "Stopped: No block was finished for 60 minutes." in lines(run)[0]["error"]


def test_an_error_that_is_its_own_cause_ends(run):
    log_to_run(run)
    error = ValueError("x")
    error.__cause__ = error
    log.error("failed", exc_info=(ValueError, error, None))
    assert lines(run)[0]["error"] == "builtins.ValueError"


URIS = {
    "s3://KEY:se%2Fcret@bucket/run": "s3://bucket/run",
    "s3://bucket/run?secret_key=secret&region=x": "s3://bucket/run?region=x",
    "gs://bucket/a@b/run": "gs://bucket/a@b/run",
    "/data/run?": "/data/run?",
    "abfs://box:secret@host/run is odd?": "abfs://box@host/run is odd?",
}


@pytest.mark.parametrize("uri", URIS)
def test_keys_are_taken_out_of_addresses(run, uri):
    assert safe(uri) == URIS[uri]
    log_to_run(run)
    log.warning("%s is already finished", uri)
    assert lines(run)[0]["message"] == f"{URIS[uri]} is already finished"


def test_a_run_s_name_is_short_and_its_own(tmp_path):
    one, same, other = (Run(str(tmp_path / name)) for name in ("a/run", "a/run/", "b/run"))
    assert run_name(one) == run_name(same) != run_name(other)
    assert run_name(one).startswith("run-") and len(run_name(one)) == len("run-") + 8
