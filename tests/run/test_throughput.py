"""Rows and rate from listings and footers, with few requests and no data read."""

from __future__ import annotations

import os
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.run import throughput as module
from smotext_ray.run.directory import Run
from smotext_ray.run.throughput import WriteProgress, rate, write_progress

WRITE = "0351UXSWMp_f0f6a7698dd1"  # how Ray names the files of one write


def put(run, name, rows, at=None):
    """A file of the directory ``samples``, last written at a moment."""
    path = f"{run.make('samples')}/{name}.parquet"
    pq.write_table(pa.table({"x": np.arange(rows)}), path, filesystem=run.fs)
    if at is not None:
        os.utime(path, (at, at))


@pytest.fixture
def run(tmp_path):
    return Run(str(tmp_path / "run"))


def test_a_directory_that_is_not_there_holds_nothing(run):
    assert write_progress(run, "samples") == WriteProgress(0, True, None, 0.0, None)


def test_rows_and_rate(run):
    for number in range(5):
        put(run, f"{WRITE}_{number:06}-0", 10, at=1000 + 20 * number)
    seen = write_progress(run, "samples")
    assert (seen.rows, seen.is_exact, seen.last, seen.longest_gap) == (50, True, 1080, 20)
    assert seen.rows_per_second == pytest.approx(0.5)


def test_the_time_in_which_nothing_ran_does_not_count(run):
    for number in range(3):
        put(run, f"killed_{number:06}-0", 10, at=1000 + number)
    for number in range(3):
        put(run, f"resumed_{number:06}-0", 10, at=90_000 + 5 * number)
    seen = write_progress(run, "samples")
    assert seen.rows == 60 and seen.longest_gap == 5
    assert seen.rows_per_second == pytest.approx(2)


def test_one_file_has_no_rate(run):
    put(run, f"{WRITE}_000000-0", 10, at=1000)
    seen = write_progress(run, "samples")
    assert (seen.rows, seen.last, seen.rows_per_second) == (10, 1000, None)


def test_a_file_that_is_being_written_holds_no_rows_yet(run):
    put(run, f"{WRITE}_000000-0", 10)
    with open(run.at("samples", f"{WRITE}_000001-0.parquet"), "wb") as file:
        file.write(b"PAR1 half of it")
    (open(run.at("samples", f"{WRITE}_000002-0.parquet"), "wb")).close()
    put(run, "_partial", 99)
    assert write_progress(run, "samples").rows == 10


def test_few_footers_are_read_of_many_files(run, monkeypatch):
    read = []
    footer = module._rows_of
    monkeypatch.setattr(
        module, "_rows_of", lambda run, path: read.append(path) or footer(run, path)
    )
    for number in range(40):
        put(run, f"{WRITE}_{number:06}-0", 64 if number < 39 else 30)
    seen = write_progress(run, "samples", footers=8)
    assert len(read) == 8 and not seen.is_exact
    assert seen.rows == pytest.approx(39 * 64 + 30, rel=0.05)
    assert write_progress(run, "samples", footers=None).rows == 39 * 64 + 30


def test_a_file_system_without_times():
    run = Run(f"memory://{uuid.uuid4()}/run")
    put(run, f"{WRITE}_000000-0", 3)
    assert write_progress(run, "samples").rows == 3


def test_actors_that_begin_together_do_not_make_it_faster():
    # Two actors, a block of 30 rows a minute each.
    times = np.array([60.0, 60.0, 120.0, 120.0, 180.0, 180.0])
    assert rate(times, np.full(6, 30.0)) == pytest.approx(1.0)


@given(
    st.floats(0.01, 1000), st.integers(2, 50), st.floats(0, 1e9), st.randoms(use_true_random=False)
)
def test_a_steady_rate_is_found_in_any_order(per_second, files, start, random):
    times = start + np.arange(files) * (64 / per_second)
    order = list(range(files))
    random.shuffle(order)
    assert rate(times[order], np.full(files, 64.0)) == pytest.approx(per_second, rel=1e-3)


def test_files_of_one_moment_have_no_rate():
    assert rate(np.array([5.0, 5.0]), np.array([1.0, 2.0])) is None
