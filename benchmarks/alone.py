"""Functions in processes of their own: what crashes or hangs there ends there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What a function returned, or one line on why it did not."""

    value: Any = None
    error: str = ""


def context(start: str) -> Any:
    """A way to start processes: "spawn", or "forkserver", whose processes have torch already."""
    found = multiprocessing.get_context(start)
    if start == "forkserver":
        # Imported and not used: CUDA must begin in the process that uses it.
        found.set_forkserver_preload(["torch", "transformers"])
    return found


def run_alone(
    function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float, start: str
) -> Outcome:
    """Call a function of a module in a process of its own, which ends with it.

    Parameters
    ----------
    function : callable
    arguments : tuple
    seconds : float
        After which the process is killed.
    start : {"spawn", "forkserver"}
    """
    here = context(start)
    receiver, sender = here.Pipe(duplex=False)
    process = here.Process(target=_answer, args=(sender, function, arguments))
    process.start()
    sender.close()  # so that the end of the process is the end of the pipe
    try:
        if not receiver.poll(seconds):
            return Outcome(error=f"killed after {seconds:g} seconds")
        outcome: Outcome = receiver.recv()
        process.join()
        return outcome
    except EOFError:
        process.join()
        return Outcome(error=f"its process ended with code {process.exitcode}")
    finally:
        if process.is_alive():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and what it has started
            process.join()


def _answer(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.setsid()
    try:
        outcome = Outcome(function(*arguments))
    except BaseException as error:
        traceback.print_exc()
        outcome = Outcome(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    sender.send(outcome)
