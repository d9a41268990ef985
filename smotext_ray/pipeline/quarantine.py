"""Quarantine rows that crash the decoder, and decode the others.

Each attempt is recorded in the run before it starts, and the record is removed when it returns, so
the remaining records are attempts that crashed a process. Records outlive the process, its node and
the driver, so a row that takes all of them down is found too.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import fs as pafs

from smotext_ray.cluster.restarts import report_done, report_one_row
from smotext_ray.run.directory import Run


class RowQuarantine:
    """A decoder that skips a row instead of failing its block.

    A block is decoded as a whole until it has crashed a process ``max_attempts`` times, and then
    row by row, starting with rows without recorded crashes. A row that has crashed it
    ``max_attempts`` times by itself, and twice as often in total, is quarantined with an error. So
    crashes unrelated to the rows (a lost node, a dead engine) cost time but no rows. Several
    threads may decode blocks at once; then a crash counts against all of them, but a row tried by
    itself is alone in the process.

    Parameters
    ----------
    actor : class
        Adds candidate texts to plan rows.
    given : dict
        Arguments of its constructor.
    run_uri : str
    attempts : str
        Directory of the run for the records.
    max_attempts : int
    restarts : actor handle
        From `smotext_ray.cluster.restarts.bounded_restarts`.
    """

    def __init__(
        self,
        actor: Any,
        given: dict[str, Any],
        run_uri: str,
        attempts: str,
        max_attempts: int,
        restarts: Any,
    ) -> None:
        self._actor = actor(**given)
        self._lock = ReadWriteLock()
        self._attempts = AttemptLog(Run(run_uri), attempts)
        self._max_attempts = max_attempts
        self._restarts = restarts

    def __call__(self, table: pa.Table) -> pa.Table:
        ids = table["sample_id"].to_pylist()
        if not ids:
            return self._actor(table)
        with self._lock.shared():
            together, alone = self._attempts.held_against(ids)
            if not alone and together < self._max_attempts:
                with self._attempts.trying(ids):
                    return self._actor(table)
        made: dict[int, pa.Table] = {}
        with self._lock.alone():
            for at in sorted(range(len(ids)), key=lambda at: alone[ids[at]]):
                made[at] = self._row(table.slice(at, 1), ids[at], together, alone[ids[at]])
        return pa.concat_tables([made[at] for at in range(len(ids))]).combine_chunks()

    def _row(self, row: pa.Table, id_: int, together: int, alone: int) -> pa.Table:
        from smotext_ray.models.engine import Candidates
        from smotext_ray.pipeline.actors import with_candidates

        if alone >= self._max_attempts and together + alone >= 2 * self._max_attempts:
            error = (
                f"the engine crashed {together + alone} times on it, {alone} of them on it alone"
            )
            return with_candidates(row, [Candidates([], [], [], error)])
        report_one_row(self._restarts, f"sample_id {id_}")
        with self._attempts.trying([id_]):
            made = self._actor(row)
        report_done(self._restarts)  # before the next row can crash this process
        return made


class ReadWriteLock:
    """A read-write lock: many threads at once, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = 0
        self._waiting_alone = 0
        self._is_alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Shared access; waits for threads that want exclusive access."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_alone and not self._waiting_alone)
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._waiting_alone += 1
            self._changed.wait_for(lambda: not self._is_alone and not self._sharing)
            self._waiting_alone -= 1
            self._is_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._changed.notify_all()


class AttemptLog:
    """Records as empty files, one per attempt, named after its first and last row.

    Parameters
    ----------
    run : Run
    directory : str
    """

    def __init__(self, run: Run, directory: str) -> None:
        self._fs = run.fs
        self._directory = run.make(*directory.split("/"))

    @contextmanager
    def trying(self, ids: Sequence[int]) -> Iterator[None]:
        """Record an attempt at rows during a ``with`` block; an exception is not a crash."""
        note = f"{self._directory}/{min(ids)}-{max(ids)}-{uuid.uuid4().hex}"
        self._fs.open_output_stream(note).close()
        try:
            yield
        except Exception:
            self._fs.delete_file(note)
            raise
        self._fs.delete_file(note)

    def held_against(self, ids: Sequence[int]) -> tuple[int, Counter[int]]:
        """Crashed attempts at several of these rows, and at single ones.

        Blocks are disjoint, so an attempt belongs to a block if its first row does. If rows were
        split differently before a restart, an attempt may count for too many rows.
        """
        together, alone, mine = 0, Counter[int](), set(ids)
        for file in self._fs.get_file_info(pafs.FileSelector(self._directory)):
            first, last, _ = file.base_name.split("-")
            if int(first) not in mine:
                continue
            if first == last:
                alone[int(first)] += 1
            else:
                together += 1
        return together, alone
