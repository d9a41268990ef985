"""Run a job until its table has every row once, and seal the table.

A job's own report is not trusted: rows are counted in the files, before and after it runs.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.executor import Executor
from smotext_ray.pipeline.jobs import DecodeJob, EmbedJob
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import JobFacts
from smotext_ray.run.written import WrittenRows, written_rows

log = logging.getLogger("smotext_ray")

Facts = TypeVar("Facts")

ATTEMPTS = 3
# A client of a network file system may take this long to list what another client has written:
# Linux's NFS client keeps a listing for up to a minute.
LATE_SECONDS = 75.0
POLL_SECONDS = 5.0
SMALL = 1_000_000  # up to here ids need little memory, so rows are counted in this process


class RowsMissing(RuntimeError):
    """A table lacks rows, or has wrong ones, after its job."""


def complete(
    run: Run,
    job: EmbedJob | DecodeJob,
    executor: Executor,
    work: Callable[[str], Facts],
    nothing: Facts,
) -> Facts:
    """Have a table written, or the rows that are missing after a kill.

    Parameters
    ----------
    run : Run
    job : EmbedJob or DecodeJob
    executor : Executor
        For a count whose memory is not small.
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
        done = f"checkpoints/{job.name}/{uuid.uuid4().hex[:12]}"
        there = _count(run, job, done, executor)
        if attempt and there.rows < job.rows:
            there = _awaited(run, job, done, executor, there)
        if there.rows >= job.rows or attempt == ATTEMPTS:
            break
        if attempt:
            log.warning(
                "%s has %d of %d rows; doing the others", job.directory, there.rows, job.rows
            )
        facts = work(done)
    if there.rows != job.rows:
        raise RowsMissing(
            f"{job.directory} of {run.shown} has {there.rows} rows instead of {job.rows}, so it "
            "does not count as done"
        )
    run.seal(there.files, *job.directory.split("/"))
    _remove(run, job.directory, there.spare)
    run.clear("checkpoints", job.name)
    return facts


def complete_embed(config: RunConfig, run: Run, job: EmbedJob, executor: Executor) -> int | None:
    """`complete` an embed job; returns its number of actors, or None if no row was missing."""
    return complete(run, job, executor, partial(executor.embed, config, run, job), None)


def complete_decode(config: RunConfig, run: Run, job: DecodeJob, executor: Executor) -> JobFacts:
    """`complete` a decode job; see `Executor.decode`."""
    nothing = JobFacts(seconds=0.0, tokens=0, actors=0)
    return complete(run, job, executor, partial(executor.decode, config, run, job), nothing)


def _count(run: Run, job: EmbedJob | DecodeJob, done: str, executor: Executor) -> WrittenRows:
    run.clear(*done.split("/"))
    if job.rows <= SMALL:
        return written_rows(run, job.directory, job.id_column, done)
    found: WrittenRows = executor.call(written_rows, run, job.directory, job.id_column, done)
    return found


def _awaited(
    run: Run, job: EmbedJob | DecodeJob, done: str, executor: Executor, there: WrittenRows
) -> WrittenRows:
    """Count the rows again while the directory's listing may be late."""
    until = time.monotonic() + LATE_SECONDS
    names = _names(run, job.directory)
    while there.rows < job.rows and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
        if (listed := _names(run, job.directory)) != names:
            names = listed
            there = _count(run, job, done, executor)
    return there


def _names(run: Run, directory: str) -> list[str]:
    return [info.base_name for info in run.files(*directory.split("/"))]


def _remove(run: Run, directory: str, names: list[str]) -> None:
    """Remove files that no reader counts; in a private run they release a row a second time."""
    for name in names:
        run.check_lease()
        with suppress(FileNotFoundError):
            run.fs.delete_file(run.at(directory, name))
