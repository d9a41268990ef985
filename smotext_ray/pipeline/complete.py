"""Run a job until its table has every row once, and seal the table.

A job's own word is not taken for it: rows are counted in the files, before it runs and after.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from smotext_ray.run.directory import Run
from smotext_ray.run.written import WrittenRows, written_rows

log = logging.getLogger("smotext_ray")

Facts = TypeVar("Facts")

ATTEMPTS = 3
# A client of a network file system may take this long to list what another one has written:
# Linux's NFS client keeps a listing for up to a minute.
LATE_SECONDS = 75.0
POLL_SECONDS = 5.0
SMALL = 1_000_000  # rows whose ids take no noticeable memory: counted in this process


class RowsMissing(RuntimeError):
    """A table lacks rows, or has others, after its job."""


def complete(
    run: Run,
    directory: str,
    id_column: str,
    *,
    rows: int,
    job: str,
    call: Callable[..., Any],
    work: Callable[[str], Facts],
    nothing: Facts,
) -> Facts:
    """Have a table written, or what a kill has left of it.

    Parameters
    ----------
    run : Run
    directory : str
        Of the run.
    id_column : str
    rows : int
        Number of ids that the table is to have.
    job : str
        Name in ``checkpoints/``.
    call : callable
        `Executor.call`, for a count whose memory is not small.
    work : callable
        Runs the job; called with the directory of the run that has the ids of finished rows.
    nothing : object
        What the job would return if there is nothing to do.

    Returns
    -------
    object
        What ``work`` returned, or ``nothing``.

    Raises
    ------
    RowsMissing
        If the table is not complete after repeated attempts. The stage must not count as done.
    LeaseLost
        If another process has taken over the run.
    """
    facts = nothing
    for attempt in range(ATTEMPTS + 1):
        done = f"checkpoints/{job}/{uuid.uuid4().hex[:12]}"
        there = _count(run, directory, id_column, done, rows, call)
        if attempt and there.rows < rows:
            there = _awaited(run, directory, id_column, done, rows, call, there)
        if there.rows >= rows or attempt == ATTEMPTS:
            break
        if attempt:
            log.warning("%s has %d of %d rows; doing the others", directory, there.rows, rows)
        facts = work(done)
    if there.rows != rows:
        raise RowsMissing(
            f"{directory} of {run.shown} has {there.rows} rows instead of {rows}, so it does not "
            "count as done"
        )
    run.seal(there.files, *directory.split("/"))
    _remove(run, directory, there.spare)
    run.clear("checkpoints", job)
    return facts


def _count(
    run: Run, directory: str, id_column: str, done: str, rows: int, call: Callable[..., Any]
) -> WrittenRows:
    run.clear(*done.split("/"))
    if rows <= SMALL:
        return written_rows(run, directory, id_column, done)
    found: WrittenRows = call(written_rows, run, directory, id_column, done)
    return found


def _awaited(
    run: Run,
    directory: str,
    id_column: str,
    done: str,
    rows: int,
    call: Callable[..., Any],
    there: WrittenRows,
) -> WrittenRows:
    """The rows, counted again while the directory's listing may be late."""
    until = time.monotonic() + LATE_SECONDS
    names = _names(run, directory)
    while there.rows < rows and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
        if (listed := _names(run, directory)) != names:
            names = listed
            there = _count(run, directory, id_column, done, rows, call)
    return there


def _names(run: Run, directory: str) -> list[str]:
    return [info.base_name for info in run.files(*directory.split("/"))]


def _remove(run: Run, directory: str, names: list[str]) -> None:
    """Remove files that no reader counts; of a private run, a second release of a row."""
    for name in names:
        run.check_lease()
        with suppress(FileNotFoundError):
            run.fs.delete_file(run.at(directory, name))
