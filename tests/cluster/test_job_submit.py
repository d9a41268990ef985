"""Jobs as users submit them: ``ray job submit`` to a head that asks for a token."""

from __future__ import annotations

import json
import urllib.error
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from submitting import Head, ray_head, repository, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

RARE, FREQUENT = 6, 66
PLANNED = FREQUENT - RARE


@pytest.fixture(scope="module")
def head():
    with ray_head(cpus=6) as started:
        yield started


@pytest.fixture(scope="module")
def submitted(tmp_path_factory) -> Path:
    return repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    places = (
        "London Paris Rome Oslo Bonn Lima Cairo Delhi Tokyo Quito Perth Accra Sofia Riga Minsk "
        "Lagos Dakar Hanoi Seoul Bern Kabul Doha"
    )
    rows = [
        {"text": f"The harvest of wheat near {place} was good this year.", "label": "grain"}
        for place in places.split()[:RARE]
    ] + [
        {"text": f"The central bank in {place} {did} its interest rate again.", "label": "money"}
        for did in ("raised", "cut", "kept")
        for place in places.split()
    ]
    assert len(rows) == RARE + FREQUENT
    file = tmp_path_factory.mktemp("corpus") / "news.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    return file


def augment(corpus: Path, *more: str) -> list[str]:
    return ["python", "jobs/augment.py", "--input", str(corpus), *map(str, more)]


def test_without_the_token_no_job_is_taken(head: Head, submitted, corpus):
    for token in ("", "another"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            head.jobs(token)
        assert refused.value.code in (401, 403)
    stranger = head.env | {"RAY_AUTH_TOKEN": "another"}
    result = head.submit(augment(corpus, "--dry-run"), submitted, env=stranger)
    assert result.returncode != 0
    assert head.jobs() == []


def test_a_dry_run_in_the_uploaded_directory_which_holds_the_code_alone(head, submitted, corpus):
    dry_run = " ".join(augment(corpus, "--dry-run"))
    result = head.submit(["sh", "-c", f"find . -mindepth 1 -maxdepth 1; {dry_run}"], submitted)
    assert result.returncode == 0, result.stdout + result.stderr
    uploaded = {line[2:] for line in result.stdout.splitlines() if line.startswith("./")}
    assert uploaded == {".gitignore", "jobs", "smotext_ray"}
    assert "grain" in result.stdout


def test_wrong_input_fails_the_job_and_its_log_says_why(head, submitted, tmp_path):
    missing = tmp_path / "none.csv"
    result = head.submit(augment(missing, "--output", tmp_path / "run"), submitted)
    assert result.returncode == 1
    assert f"smotext: error: {missing}" in result.stdout or "does not exist" in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.long
def test_a_stopped_job_is_submitted_again_and_goes_on(head, submitted, corpus, tmp_path):
    run = tmp_path / "run"
    # One decoder, small blocks and many texts a point: some are written while others are to do.
    few = ["resources.encoder_actors=1", "resources.decoder_actors=1"]
    few += ["resources.decode_blocks_in_flight=1"]
    small = [
        "resources.decode_rows_per_block=1",
        "decoder.num_candidates=8",
        "decoder.max_tokens=32",
    ]
    command = augment(corpus, "--output", run, "--max-rounds", "1", *few, *small)

    first = head.submit(command, submitted, "--no-wait", "--submission-id", "first")
    assert first.returncode == 0, first.stdout + first.stderr
    wait_until(lambda: len(samples(run)) > 0 or head.status("first") == "FAILED", "it decodes")
    log = head.stop("first")
    assert head.status("first") == "STOPPED", log
    assert "run the same command again to resume" in log  # it was stopped as by Ctrl-C
    before = samples(run)
    assert 0 < len(before) < PLANNED

    again = head.submit(command, submitted, "--submission-id", "second")
    assert again.returncode == 0, again.stdout + again.stderr
    after = samples(run)
    assert before.items() <= after.items()  # what was written stays as it was
    planned = pq.read_table(run / "plan")["sample_id"].to_pylist()
    assert sorted(id_ for ids in after.values() for id_ in ids) == sorted(planned)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["smotext_ray"] == "0.submitted"
    if manifest["shortfall"]:
        assert "short of a target" in again.stdout


def samples(run: Path) -> dict[str, list[int]]:
    """The ids of each file of samples that is whole."""
    found = {}
    for file in (run / "samples").rglob("*.parquet"):
        try:
            found[file.name] = pq.read_table(file, columns=["sample_id"])["sample_id"].to_pylist()
        except (OSError, ValueError):  # being written
            continue
    return found
