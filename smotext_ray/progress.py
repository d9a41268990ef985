"""Progress of a stage: actors count rows, the driver shows a bar and writes a log."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

log = logging.getLogger("smotext_ray")
POLL_SECONDS = 1.0
LOG_EVERY_SECONDS = 10.0


class Counter:
    """Rows and tokens done so far; lives in an actor of its own."""

    def __init__(self) -> None:
        self.rows = 0
        self.tokens = 0

    def add(self, rows: int, tokens: int = 0) -> None:
        """Count what an actor has finished."""
        self.rows += rows
        self.tokens += tokens

    def get(self) -> tuple[int, int]:
        """Rows and tokens."""
        return self.rows, self.tokens


@contextmanager
def stage_progress(stage: str, total: int) -> Iterator[Any]:
    """Show a stage's progress while the block runs; yields the handle of its counter.

    The bar goes to the terminal, and about every ten seconds a line to the log.
    """
    import ray

    # Lost with its node it begins again at 0: a wrong count must not end the job.
    alive = {"max_restarts": -1, "max_task_retries": -1}
    counter = ray.remote(num_cpus=0, **alive)(Counter).remote()
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(stage, total, counter, stop), daemon=True)
    started = time.monotonic()
    log.info("%s: %d rows to do", stage, total)
    thread.start()
    try:
        yield counter
        rows, tokens = ray.get(counter.get.remote())
    finally:
        stop.set()
        thread.join()
        ray.kill(counter)
    seconds = time.monotonic() - started
    log.info("%s: done, %s in %.1f s", stage, _done(rows, tokens), seconds)


def _watch(stage: str, total: int, counter: Any, stop: threading.Event) -> None:
    import ray

    logged = time.monotonic()
    with tqdm(total=total, desc=stage, unit="row", disable=not sys.stderr.isatty()) as bar:
        stopped = False
        while not stopped:
            stopped = stop.wait(POLL_SECONDS)  # and read once more after it
            try:
                rows, tokens = ray.get(counter.get.remote(), timeout=POLL_SECONDS)
            except ray.exceptions.GetTimeoutError:
                continue
            except ray.exceptions.RayError:
                return
            bar.update(rows - bar.n)
            if tokens:
                bar.set_postfix_str(f"{tokens} tokens")
            if time.monotonic() - logged >= LOG_EVERY_SECONDS:
                logged = time.monotonic()
                log.info("%s: %d rows to do; done: %s", stage, total, _done(rows, tokens))


def _done(rows: int, tokens: int) -> str:
    return f"{rows} rows, {tokens} tokens" if tokens else f"{rows} rows"
