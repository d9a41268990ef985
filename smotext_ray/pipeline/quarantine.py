"""Rows that end the process at every try: found, set aside, and the others decoded.

Each try is noted in the run before it begins and the note taken back when it returns, so
what is left are the tries that a process did not survive. The notes outlast the process,
its node and the driver: a row that takes all of them with it is found too.
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

from smotext_ray.cluster.restarts import tell_done
from smotext_ray.run.directory import Run


class SparingActor:
    """A decoder that gives a row up rather than its block.

    A block is decoded whole until it has ended a process ``max_attempts`` times, and then row by
    row, the rows that nothing is held against first. A row that has ended it ``max_attempts`` times
    alone, and twice as often in all, is set aside with an error. So ends that have nothing to
    do with the rows (a lost node, a dead engine) cost speed and no row. Blocks may be decoded
    by several threads at once; then an end counts against all of them, but a row that is
    tried alone is alone in the process.

    Parameters
    ----------
    actor : class
        Plan rows -> the same with candidate texts.
    given : dict
        For its constructor.
    run_uri : str
    notes : str
        Directory of the run, for the notes.
    max_attempts : int
    restarts : actor handle
        Of `smotext_ray.cluster.restarts.bounded_restarts`.
    """

    def __init__(
        self,
        actor: Any,
        given: dict[str, Any],
        run_uri: str,
        notes: str,
        max_attempts: int,
        restarts: Any,
    ) -> None:
        self._actor = actor(**given)
        self._turns = Turns()
        self._notes = Notes(Run(run_uri), notes)
        self._max_attempts = max_attempts
        self._restarts = restarts

    def __call__(self, table: pa.Table) -> pa.Table:
        ids = table["sample_id"].to_pylist()
        if not ids:
            return self._actor(table)
        with self._turns.shared():
            together, alone = self._notes.held_against(ids)
            if not alone and together < self._max_attempts:
                with self._notes.trying(ids):
                    return self._actor(table)
        made: dict[int, pa.Table] = {}
        with self._turns.alone():
            for at in sorted(range(len(ids)), key=lambda at: alone[ids[at]]):
                made[at] = self._row(table.slice(at, 1), ids[at], together, alone[ids[at]])
        return pa.concat_tables([made[at] for at in range(len(ids))]).combine_chunks()

    def _row(self, row: pa.Table, id_: int, together: int, alone: int) -> pa.Table:
        from smotext_ray.models.engine import Candidates
        from smotext_ray.pipeline.actors import with_candidates

        if alone >= self._max_attempts and together + alone >= 2 * self._max_attempts:
            error = f"the engine ended {together + alone} times on it, {alone} of them on it alone"
            return with_candidates(row, [Candidates([], [], [], error)])
        with self._notes.trying([id_]):
            made = self._actor(row)
        tell_done(self._restarts)  # before the next one may end this process
        return made


class Turns:
    """Many threads at once, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = 0
        self._waiting_alone = 0
        self._is_alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Beside others that share; after those who wait to be alone."""
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


class Notes:
    """Empty files, one a try, named by the first and the last row of it.

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
        """Note a try at rows while the block runs; an exception is no end of the process."""
        note = f"{self._directory}/{min(ids)}-{max(ids)}-{uuid.uuid4().hex}"
        self._fs.open_output_stream(note).close()
        try:
            yield
        except Exception:
            self._fs.delete_file(note)
            raise
        self._fs.delete_file(note)

    def held_against(self, ids: Sequence[int]) -> tuple[int, Counter[int]]:
        """Tries at several of these rows that ended the process, and at single ones.

        Blocks share no row, so a try is a block's own if its first row is. Were they cut
        in another way before a restart, a try may count for too many rows.
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
