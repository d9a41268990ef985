"""A stage is done when its table has every row once, and not when its job says so."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_run import build

from smotext_ray.pipeline import complete as module
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.complete import RowsMissing, complete
from smotext_ray.pipeline.jobs import EmbedJob
from smotext_ray.pipeline.local import Local
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import JobFacts
from smotext_ray.run.manifest import Manifest

ROWS = 5


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(str(tmp_path / "run"))


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(module, "LATE_SECONDS", 0.2)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)


def put(run: Run, name: str, ids: list[int]) -> None:
    pq.write_table(pa.table({"id": ids}), f"{run.make('samples')}/{name}.parquet")


def finished(run: Run, done: str) -> set[int]:
    if not run.has(done):
        return set()
    return set(run.table(done).to_table()["id"].to_pylist())


def completed(run: Run, work) -> str:
    job = EmbedJob(name="decode", files=[], directory="samples", rows=ROWS)
    return complete(run, job, Local(), work, "nothing")


def ids(run: Run) -> list[int]:
    return sorted(run.table("samples").to_table()["id"].to_pylist())


def all_others(run: Run, calls: list):
    def work(done: str) -> str:
        left = sorted(set(range(ROWS)) - finished(run, done))
        calls.append(left)
        put(run, f"job{len(calls)}", left)
        return "made"

    return work


def test_a_job_does_what_is_left(run):
    put(run, "before", [0, 3])
    calls: list = []
    assert completed(run, all_others(run, calls)) == "made"
    assert calls == [[1, 2, 4]] and ids(run) == list(range(ROWS))
    assert run.sealed("samples") == ["before.parquet", "job1.parquet"]
    assert not run.has("checkpoints", "decode")


def test_a_whole_table_needs_no_job(run):
    put(run, "before", list(range(ROWS)))
    calls: list = []
    assert completed(run, all_others(run, calls)) == "nothing" and not calls


def test_ray_that_forgot_rows_is_asked_again(run):
    """Its checkpoint of a killed job can name rows whose file it has deleted."""
    calls: list = []
    work = all_others(run, calls)

    def forgets(done: str) -> str:
        made = work(done)
        if len(calls) == 1:
            put(run, "job1", [0, 1])
        return made

    assert completed(run, forgets) == "made"
    assert calls == [[0, 1, 2, 3, 4], [2, 3, 4]] and ids(run) == list(range(ROWS))


def test_a_checkpoint_that_ray_left_half_committed_loses_no_row(run):
    """A move that is a copy and a delete leaves both names: Ray would delete the rows' file, and
    keep them as done."""
    put(run, "abc_000001_000000", [0, 1])
    checkpoints = run.make("checkpoints", "decode")
    for name, ids_ in {"000001": [0, 1], "000001.pending": [0, 1], "000002": [2]}.items():
        pq.write_table(pa.table({"id": ids_}), f"{checkpoints}/abc_{name}.parquet")
    calls: list = []
    assert completed(run, all_others(run, calls)) == "made"
    # Rows that stand in a file are done; those that only a checkpoint names are not.
    assert calls == [[2, 3, 4]] and ids(run) == list(range(ROWS))


def test_a_table_that_lacks_rows_is_not_done(run):
    def never(done: str) -> str:
        put(run, "same", [0, 1])
        return "made"

    with pytest.raises(RowsMissing, match=r"samples of .* has 2 rows instead of 5, so it does"):
        completed(run, never)
    assert run.sealed("samples") is None


def test_a_table_with_rows_of_another_plan_is_not_done(run):
    put(run, "other", [7])
    with pytest.raises(RowsMissing, match="has 6 rows instead of 5"):
        completed(run, all_others(run, []))


def test_what_another_process_wrote_meanwhile_is_read_once_and_removed(run):
    calls: list = []
    work = all_others(run, calls)

    def with_another(done: str) -> str:
        put(run, "zombie", [1, 2])
        return work(done)

    completed(run, with_another)
    assert ids(run) == list(range(ROWS))
    assert not run.has("samples", "zombie.parquet")


def test_a_listing_that_is_late_is_waited_for(run, monkeypatch):
    calls: list = []
    listed, late = Run.files, []

    def files(self, *parts):
        found = listed(self, *parts)
        if parts == ("samples",) and calls and len(late) < 3:
            late.append(1)
            return []
        return found

    monkeypatch.setattr(Run, "files", files)
    completed(run, all_others(run, calls))
    assert len(calls) == 1 and len(late) == 3 and ids(run) == list(range(ROWS))


def test_decode_notes_no_round_with_a_file_missing(tmp_path, monkeypatch):
    run = build(tmp_path, {"grain": 4, "ship": 2}, until="plan")

    class Loses(Local):
        def decode(self, config, run, job, done):
            return JobFacts(seconds=1.0, tokens=1, actors=1)

    manifest = Manifest.read(run)
    with pytest.raises(RowsMissing, match=r"samples/round-1 of .* has 0 rows instead of 6"):
        rounds.decode(manifest.config, run, manifest, executor=Loses())
    assert Manifest.read(run).undecoded_round.round == 1
