"""Progress of a stage from one listing of its directory and a few footers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from smotext_ray.run.directory import Run

FOOTERS = 64  # read per directory; with more files, rows are estimated
READERS = 16


@dataclass(frozen=True)
class WriteProgress:
    """Rows of a directory of parquet files, and when they were written.

    Attributes
    ----------
    rows : int
    is_exact : bool
        Whether every footer was read. For other files, rows are estimated from file size.
    last : float or None
        When the last file was written, in Unix time by the file system's clock; None without files,
        or if the file system has no modification times.
    longest_gap : float
        Longest time in seconds between two files of the process that wrote the last one.
    rows_per_second : float or None
        Rate of that process. None with fewer than two distinct write times.
    """

    rows: int = 0
    is_exact: bool = True
    last: float | None = None
    longest_gap: float = 0.0
    rows_per_second: float | None = None


def write_progress(run: Run, *parts: str, footers: int | None = FOOTERS) -> WriteProgress:
    """Inspect a directory of the run; a missing one has no rows.

    Parameters
    ----------
    run : Run
    *parts : str
        The directory.
    footers : int or None, default=64
        Maximum number of footers to read; None means all.
    """
    selector = pafs.FileSelector(run.at(*parts), allow_not_found=True)
    files = [info for info in run.fs.get_file_info(selector) if _is_table(info)]
    if not files:
        return WriteProgress()
    rows = _rows(run, files, len(files) if footers is None else footers)
    total = round(float(rows.sum()))
    is_exact = footers is None or len(files) <= footers
    if any(info.mtime_ns is None for info in files):
        return WriteProgress(total, is_exact)
    times = np.array([info.mtime_ns for info in files]) / 1e9
    # Ray names files <dataset>_<write>_<task>: the part before the task identifies the process.
    writers = np.array([info.base_name.rpartition("_")[0] for info in files])
    own = writers == writers[times.argmax()]
    gaps = np.diff(np.sort(times[own]))
    return WriteProgress(
        total,
        is_exact,
        float(times.max()),
        float(gaps.max(initial=0.0)),
        rate(times[own], rows[own]),
    )


def rate(times: np.ndarray, rows: np.ndarray) -> float | None:
    """Rows per second: the slope of the cumulative rows over time.

    Rows between the first and the last file would overestimate it: actors start together, so their
    first blocks finish together, and all but one would be counted without their time.

    Parameters
    ----------
    times : ndarray of shape (files,)
        When each file was written, in seconds, in any order.
    rows : ndarray of shape (files,)

    Returns
    -------
    float or None
        None if all files were written at the same time.
    """
    order = np.argsort(times, kind="stable")
    since = times[order] - times.mean()
    spread = float(since @ since)
    if not spread:
        return None
    so_far = np.cumsum(rows[order]) - rows[order] / 2
    return float(since @ (so_far - so_far.mean())) / spread


def _is_table(info: pafs.FileInfo) -> bool:
    return info.base_name.endswith(".parquet") and not info.base_name.startswith(("_", "."))


def _rows(run: Run, files: Sequence[pafs.FileInfo], footers: int) -> np.ndarray:
    """Rows of each file, shape (files,): read for some, estimated from size for the others."""
    some = np.unique(np.linspace(0, len(files) - 1, min(footers, len(files))).astype(int))
    with ThreadPoolExecutor(READERS) as pool:
        known = np.array(list(pool.map(lambda i: _rows_of(run, files[i].path), some)), float)
    sizes = np.array([info.size for info in files], float)
    rows: np.ndarray = sizes * (known.sum() / max(sizes[some].sum(), 1.0))
    rows[some] = known
    return rows


def _rows_of(run: Run, path: str) -> int:
    try:
        return int(pq.read_metadata(path, filesystem=run.fs).num_rows)
    except (pa.ArrowInvalid, FileNotFoundError):
        return 0  # being written, left incomplete by a kill, or removed on resume
