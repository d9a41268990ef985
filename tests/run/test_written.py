"""Finished rows are those in the files: each once, whatever a kill has left."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smotext_ray.run.directory import SEAL, Run
from smotext_ray.run.written import written_rows


@pytest.fixture(params=["local", "memory"])
def run(request, tmp_path) -> Run:
    return Run(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4()}/r")


def put(run: Run, name: str, ids: list, torn: bool = False) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": ids, "text": [f"text {i}" for i in ids]}), sink)
    content = sink.getvalue().to_pybytes()
    run.write(content[: len(content) // 2] if torn else content, "samples", name)


def done(run: Run) -> list:
    return sorted(run.table("done").to_table()["id"].to_pylist())


def test_the_ids_of_all_whole_files_are_done(run):
    put(run, "a.parquet", [1, 2])
    put(run, "b.parquet", [3])
    run.write(b"", "samples", "_c.parquet.partial-1")
    found = written_rows(run, "samples", "id", "done")
    assert (found.rows, found.files, found.spare) == (3, ["a.parquet", "b.parquet"], [])
    assert done(run) == [1, 2, 3]


def test_nothing_is_written_where_nothing_is_there(run):
    found = written_rows(run, "samples", "id", "done")
    assert (found.rows, found.files) == (0, []) and not run.has("done")


@pytest.mark.parametrize("content", ["torn", "empty"])
def test_a_file_that_a_kill_has_left_torn_is_done_again(run, content):
    put(run, "a.parquet", [1, 2])
    put(run, "b.parquet", [3], torn=True)
    if content == "empty":
        run.write(b"", "samples", "b.parquet")
    found = written_rows(run, "samples", "id", "done")
    assert (found.rows, found.files, found.spare) == (2, ["a.parquet"], ["b.parquet"])
    assert done(run) == [1, 2]


def test_a_file_that_cannot_be_read_at_the_moment_is_not_taken_for_torn(run, monkeypatch):
    put(run, "a.parquet", [1])

    class Busy:
        def __getattr__(self, name):
            return getattr(fs, name)

        def open_input_file(self, path):
            raise OSError("503 slow down")

    fs = run.fs
    monkeypatch.setattr(run, "fs", Busy())
    with pytest.raises(OSError, match="slow down"):
        written_rows(run, "samples", "id")


@pytest.mark.parametrize("kind", [int, str])
def test_rows_of_two_writers_count_once(run, kind):
    put(run, "a.parquet", [kind(i) for i in (1, 2)])
    put(run, "b.parquet", [kind(i) for i in (2, 3)])
    put(run, "c.parquet", [kind(i) for i in (3, 4)])
    put(run, "d.parquet", [kind(i) for i in (5, 5)])
    found = written_rows(run, "samples", "id", "done")
    assert (found.rows, found.files) == (4, ["a.parquet", "c.parquet"])
    assert found.spare == ["b.parquet", "d.parquet"]
    assert done(run) == [kind(i) for i in (1, 2, 3, 4)]


def test_what_is_noted_already_stays(run):
    put(run, "b.parquet", [1, 2])
    run.seal(["b.parquet"], "samples")
    put(run, "a.parquet", [2, 3])
    assert written_rows(run, "samples", "id").files == ["b.parquet"]


# The list of a table's files


def ids(run: Run) -> list:
    return sorted(run.table("samples").to_table()["id"].to_pylist())


def test_a_sealed_table_has_the_listed_files_alone(run):
    put(run, "a.parquet", [1])
    put(run, "b.parquet", [2])
    assert ids(run) == [1, 2]
    run.seal(["a.parquet"], "samples")
    put(run, "c.parquet", [1])
    assert ids(run) == [1]


def test_a_listed_file_that_is_gone_is_an_error_and_no_smaller_table(run):
    put(run, "a.parquet", [1])
    put(run, "b.parquet", [2])
    run.seal(["a.parquet", "b.parquet"], "samples")
    run.fs.delete_file(run.at("samples", "b.parquet"))
    with pytest.raises(FileNotFoundError):
        ids(run)


def test_of_two_lists_that_of_the_later_holder_counts(run):
    put(run, "a.parquet", [1])
    put(run, "b.parquet", [2])
    late, holder = Run(run.uri), Run(run.uri)
    late.token, holder.token = "00000001-ff", "00000002-00"
    holder.seal(["b.parquet"], "samples")
    late.seal(["a.parquet"], "samples")
    assert ids(run) == [2]
    assert len([info for info in run.files("samples") if info.base_name.startswith(SEAL)]) == 2


def test_without_the_lease_nothing_is_sealed(run):
    def lost() -> None:
        raise RuntimeError("lost")

    put(run, "a.parquet", [1])
    run.check_lease = lost
    with pytest.raises(RuntimeError, match="lost"):
        run.seal(["a.parquet"], "samples")
    assert run.sealed("samples") is None
