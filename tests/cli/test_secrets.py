"""A key in the address of a run or an input stands in no output, no file of the run and no card."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace

import numpy as np
import pytest
from handmade_run import build
from pyarrow.fs import FileSelector

from smotext_ray.cli.main import main
from smotext_ray.errors import UserError
from smotext_ray.evaluation.report.sections import run_facts
from smotext_ray.evaluation.rows import Rows
from smotext_ray.run.claims import read_claims
from smotext_ray.run.directory import Run
from smotext_ray.run.lease import hold
from smotext_ray.run.log import log, log_to_run
from smotext_ray.run.manifest import Manifest

pytestmark = pytest.mark.usefixtures("own_log")

KEY = "Zq7secret"


@pytest.fixture
def uri():
    return f"memory://me:{KEY}@{uuid.uuid4().hex}/run"


@pytest.fixture
def run(uri, tmp_path) -> Run:
    return build(tmp_path, {"grain": 3}, uri=uri)


def contents(run: Run) -> bytes:
    files = run.fs.get_file_info(FileSelector(run.path, recursive=True))
    found = []
    for file in files:
        if file.is_file:
            with run.fs.open_input_stream(file.path) as stream:
                found.append(stream.read())
    return b"\n".join(found)


@pytest.mark.parametrize(
    "command",
    [
        ("show", "{}"),
        ("status", "{}"),
        ("status", "{}", "--json"),
        ("verify", "{}"),
        ("card", "{}"),
        ("push", "{}", "me/x"),
        ("plan", "{}"),
        ("decode", "{}"),
        ("expand", "--run", "{}"),
        ("verify", "{}/nothing"),
        (
            "expand",
            "--run",
            "{}",
            "--input",
            "https://me:Zq7secret@127.0.0.1:1/a.csv?code=Zq7secret",
        ),
        ("augment", "--input", "nosuch://me:Zq7secret@h/a.csv#Zq7secret", "--output", "{}/new"),
    ],
    ids=lambda command: " ".join(command)[:30],
)
def test_no_command_prints_it(command, run, capsys):
    main([part.format(run.uri) for part in command])
    seen = capsys.readouterr()
    assert seen.out + seen.err
    assert KEY not in seen.out + seen.err
    assert KEY.encode() not in contents(run)


def test_neither_lease_nor_log_holds_it(run, capsys):
    log_to_run(run)
    with hold(run, "augment"):
        log.warning("%s is busy", run.uri)
        log.error("failed", exc_info=ValueError(f"{run.uri} is odd"))
        assert len(read_claims(run)) == 1
        assert KEY.encode() not in contents(run)
        with pytest.raises(UserError) as refused, hold(Run(run.uri), "expand"):
            pass
    assert KEY not in str(refused.value)
    log.handlers[0].close()
    assert KEY.encode() not in contents(run)


def test_the_report_names_run_and_test_set_without_it(run):
    rows = Rows(["a text"], np.zeros((1, 2), np.float32), ["grain"])
    material = SimpleNamespace(real=rows, synthetic=rows, test=rows, samples=[])
    facts = run_facts(run, Manifest.read(run), material, f"s3://me:{KEY}@bucket/t.csv?sig={KEY}")
    assert facts["test"] == "s3://bucket/t.csv" and facts["uri"].startswith("memory://")
    assert KEY not in json.dumps(facts)
