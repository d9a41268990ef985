"""Processes that hold something heavy, such as a model, and work on shares of the same thing."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

Work = Callable[[Any], Any]


class Workers:
    """Processes with a given number of threads each.

    Parameters
    ----------
    make : callable
        Called once in each process; what it returns does the work. A function of a module.
    processes, threads : int

    Attributes
    ----------
    processes : int
    start : float
        Seconds until all were ready.
    """

    def __init__(self, make: Callable[[], Work], processes: int, threads: int = 1) -> None:
        context = multiprocessing.get_context("spawn")
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of the processes that are started now
        started = time.monotonic()
        self.processes = processes
        self._members = []
        for _ in range(processes):
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(make, threads, theirs))
            process.start()
            theirs.close()  # or a process that dies would be waited for without end
            self._members.append((mine, process))
        for pipe, _ in self._members:
            pipe.recv()
        self.start = time.monotonic() - started

    def __call__(self, shares: list[Any]) -> tuple[float, list[Any]]:
        """Seconds until the last share is done, and what was made of each."""
        started = time.monotonic()
        for (pipe, _), share in zip(self._members, shares, strict=True):
            pipe.send(share)
        made = [pipe.recv() for pipe, _ in self._members]
        return time.monotonic() - started, made

    def end(self) -> None:
        for pipe, process in self._members:
            pipe.send(None)
            process.join()


def _serve(make: Callable[[], Work], threads: int, pipe: Any) -> None:
    import torch

    torch.set_num_threads(threads)
    work = make()
    pipe.send("ready")
    while (share := pipe.recv()) is not None:
        pipe.send(work(share))
