"""Progress of a stage: actors count finished work; the driver shows, logs and exports it.

Keep imports light: the process of the `StageActor` imports this module too.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from smotext_ray.cluster.metrics import StageMetrics
from smotext_ray.cluster.ray_data import surviving_actor
from smotext_ray.cluster.restarts import Restarts
from smotext_ray.safe_text import safe
from smotext_ray.utils.bars import is_shown, progress_bar

if TYPE_CHECKING:
    from smotext_ray.run.directory import Run


log = logging.getLogger("smotext_ray")
POLL_SECONDS = 1.0
LAST_LOOK_SECONDS = 10.0  # wait for the last look before giving up
LOG_EVERY_SECONDS = 10.0
MOST_EVENTS = 1000  # logged events per stage
FIRST_TEXTS = 3  # shown as they arrive
SHOWN_CHARACTERS = 200  # of each

ROWS, REPEATED_ROWS = ("smotext_rows",), ("smotext_repeated_rows",)
TOKENS = ("smotext_tokens",)

Counts = collections.Counter[tuple[str, ...]]  # (metric name, *additional tags) -> number
Event = tuple[str, dict[str, Any]]  # a message, and additional fields of the log


class Counter:
    """Counts of a stage so far; lives in an actor."""

    def __init__(self) -> None:
        self.counts: Counts = collections.Counter()
        self.events: list[Event] = []
        self._finished: set[Any] = set()
        self._phases: set[str] = set()
        self._shown = 0

    def add(
        self,
        rows: int,
        tokens: int = 0,
        first: Any = None,
        samples: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        """Count rows that an actor has finished.

        Parameters
        ----------
        rows : int
        tokens : int, default=0
        first : int or str, optional
            Identifies these rows, such as the first one's id: rows repeated after a kill are not
            counted again. One such key is kept per call.
        samples : mapping of (status, reason) to int, optional
            The gate's decisions on the rows.
        """
        self.counts[TOKENS] += tokens
        if first is not None and first in self._finished:
            self.counts[REPEATED_ROWS] += rows
            return
        if first is not None:
            self._finished.add(first)
        self.counts[ROWS] += rows
        for outcome, number in (samples or {}).items():
            self.counts["smotext_samples", *outcome] += number

    def restarted(self, actor: str, at: str) -> None:
        """Count an actor, such as "encoder", that Ray has restarted; ``at``: its last block."""
        self.counts["smotext_restarts", actor] += 1
        was = f", which stopped at {at}" if at else ""
        self.log_event(f"Ray has restarted the {actor}{was}", {"actor": actor})

    def log_event(self, message: str, facts: dict[str, Any]) -> None:
        """Queue a message for the driver's log; never a text of the corpus."""
        if len(self.events) < MOST_EVENTS:
            self.events.append((message, facts))

    def phase(self, what: str) -> None:
        """Queue what the first of the stage's actors is doing, such as "loading the LLM"."""
        if what not in self._phases:
            self._phases.add(what)
            self.log_event(what, {"phase": what})

    def accepted(self, text: str) -> None:
        """Queue an accepted text for the terminal, never for the log, if it is among the first."""
        if self._shown < FIRST_TEXTS:
            self._shown += 1
            self.events.append(("", {"text": text}))

    def get(self) -> tuple[int, int]:
        """Number of rows and tokens."""
        return self.counts[ROWS], self.counts[TOKENS]

    def see(self, known: int) -> tuple[Counts, list[Event]]:
        """All counts, and all events after the first ``known`` ones."""
        return self.counts, self.events[known:]


class StageActor(Counter, Restarts):
    """Both actors of a stage in one process: each takes a second to start, and 130 MiB."""

    def __init__(self) -> None:
        Counter.__init__(self)
        Restarts.__init__(self, self.restarted)


@contextmanager
def stage_progress(stage: str, total: int, run: Run, before: int = 0) -> Iterator[Any]:
    """Show a stage's progress during a ``with`` block; yields the handle of its `StageActor`.

    Draws a bar on the terminal, logs a line about every ten seconds, and updates Ray's metrics
    every second.

    Parameters
    ----------
    stage : str
    total : int
        Number of rows of the stage.
    run : Run
    before : int, default=0
        Rows already finished by a killed process.
    """
    import ray

    counter = surviving_actor(StageActor)
    watch = _Watch(stage, total, before, run, counter)
    thread = threading.Thread(target=watch.until_stopped, daemon=True)
    started = time.monotonic()
    log_begin(stage, total, before)
    thread.start()
    try:
        yield counter
        rows, tokens = ray.get(counter.get.remote())
    finally:
        watch.stop.set()
        thread.join()
        ray.kill(counter)
    log_end(stage, rows, tokens, started)


@contextmanager
def task_progress(stage: str, total: int, run: Run) -> Iterator[None]:
    """Like `stage_progress` for a short stage that is a single task, counted when it ends."""
    from smotext_ray.run.log import run_name

    metrics = StageMetrics(run_name(run), stage)
    started = time.monotonic()
    log_begin(stage, total, before=0)
    yield
    metrics.count(*ROWS, number=total)
    log_end(stage, total, 0, started)


def log_begin(stage: str, total: int, before: int) -> None:
    """Log how many rows a stage has to do."""
    left = f"{total - before} of {total} rows to do" if before else f"{total} rows to do"
    log.info("%s: %s", stage, left, extra={"stage": stage, "rows_to_do": total - before})


def log_end(stage: str, rows: int, tokens: int, started: float) -> None:
    """Log what a stage has done since ``started``, a time of the monotonic clock."""
    seconds = time.monotonic() - started
    log.info(
        "%s: done, %s in %.1f s",
        *(stage, _done(rows, tokens), seconds),
        extra={"stage": stage, "rows": rows, "tokens": tokens, "seconds": round(seconds, 3)},
    )


class _Watch:
    """Polls a stage's counter once a second and forwards changes."""

    def __init__(self, stage: str, total: int, before: int, run: Run, counter: Any) -> None:
        from smotext_ray.run.log import run_name

        self.stage, self.total, self.before, self.counter = stage, total, before, counter
        self.metrics = StageMetrics(run_name(run), stage)
        self.stop = threading.Event()
        self._counts: Counts = collections.Counter()
        self._events = 0
        self._logged = time.monotonic()
        self._pace = Pace(total - before)

    def until_stopped(self) -> None:
        import ray

        with progress_bar(desc=self.stage, total=self.total, initial=self.before) as bar:
            stopped = False
            while not stopped:
                stopped = self.stop.wait(POLL_SECONDS)  # poll once more after stopping
                try:
                    looked = self.counter.see.remote(self._events)
                    patience = LAST_LOOK_SECONDS if stopped else POLL_SECONDS
                    counts, events = ray.get(looked, timeout=patience)
                except ray.exceptions.GetTimeoutError:
                    continue
                except ray.exceptions.RayError:
                    return
                self._pass_on(counts, events, bar)

    def _pass_on(self, counts: Counts, events: list[Event], bar: Any) -> None:
        for key, number in counts.items():
            known = self._counts[key]
            new = number - known if number >= known else number  # lower: the counter restarted at 0
            if new:
                self.metrics.count(*key, number=new)
        self._counts = counts
        rows, tokens = counts[ROWS], counts[TOKENS]
        self.metrics.set_rows_to_do(max(0, self.total - self.before - rows))
        for message, facts in events:
            if "text" in facts:
                if is_shown():
                    bar.write(f"New text: {_in_a_line(facts['text'])}")
                continue
            level = logging.INFO if "phase" in facts else logging.WARNING
            log.log(level, "%s: %s", self.stage, message, extra={"stage": self.stage, **facts})
        self._events += len(events)
        bar.update(self.before + rows - bar.n)
        if tokens:
            bar.set_postfix_str(f"{tokens} tokens")
        left = self._pace.seconds_left(rows, time.monotonic())
        if time.monotonic() - self._logged >= LOG_EVERY_SECONDS:
            self._logged = time.monotonic()
            log.log(
                logging.DEBUG if is_shown() else logging.INFO,  # the bar replaces it on a terminal
                "%s: %s",
                self.stage,
                pace_in_words(self.before + rows, self.total, tokens, left),
                extra={"stage": self.stage, "rows": rows, "tokens": tokens},
            )


class Pace:
    """A stage's speed since its first rows, which excludes the time for loading models.

    Parameters
    ----------
    total : int
        Rows that the stage has to do.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._first: tuple[float, int] | None = None

    def seconds_left(self, rows: int, now: float) -> float | None:
        """Time left with ``rows`` done at ``now`` (seconds); None if there is no rate yet."""
        if self._first is None:
            self._first = (now, rows) if rows else None
            return None
        began, first = self._first
        if rows <= first or now <= began:
            return None
        return (self.total - rows) * (now - began) / (rows - first)


def pace_in_words(rows: int, total: int, tokens: int, seconds_left: float | None) -> str:
    """The progress of a stage in words.

    Examples
    --------
    >>> pace_in_words(40, 120, 1400, 110.0)
    '40 of 120 rows (33%), 1400 tokens, about 2 min left'
    """
    parts = [f"{rows} of {total} rows ({100 * rows // max(total, 1)}%)"]
    if tokens:
        parts.append(f"{tokens} tokens")
    if seconds_left is not None:
        parts.append(f"about {time_in_words(seconds_left)} left")
    return ", ".join(parts)


def time_in_words(seconds: float) -> str:
    """A time with one or two digits: ``40 s``, ``2 min``, ``1.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _in_a_line(text: str) -> str:
    line = safe(" ".join(text.split()))
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}..."


def _done(rows: int, tokens: int) -> str:
    return f"{rows} rows, {tokens} tokens" if tokens else f"{rows} rows"
