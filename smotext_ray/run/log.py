"""The run's log: JSON lines in ``RUN/logs``, one file per process.

A line has time, level, run and message, and stage, sample ids and counts if known. It never
contains texts of the corpus or credentials: for an error, it has the type and frames but not the
message, which may quote data.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import re
import traceback
from datetime import UTC, datetime
from logging.handlers import BufferingHandler
from typing import Any

from pyarrow.fs import LocalFileSystem
from pythonjsonlogger.json import JsonFormatter

from smotext_ray.errors import Stopped
from smotext_ray.run.directory import Run
from smotext_ray.safe_text import safe

LOGS = "logs"
MOST_HELD = 30  # lines buffered if the file system cannot append: about five minutes
log = logging.getLogger("smotext_ray")


def log_to_run(run: Run) -> None:
    """Write this process's log to the run's ``logs/`` from now on, and to no other run's."""
    log_to_no_run()
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"
    handler = (_Local if isinstance(run.fs, LocalFileSystem) else _Remote)(run, name)
    handler.setFormatter(_LineFormatter(run_name(run)))
    log.addHandler(handler)


def log_to_no_run() -> None:
    """Undo `log_to_run`."""
    for handler in log.handlers[:]:
        if isinstance(handler, (_Local, _Remote)):
            log.removeHandler(handler)
            handler.close()


def run_name(run: Run) -> str:
    """A run's name in logs and metrics: its directory's name and eight distinguishing digits.

    The digits come from the path, without credentials in a URI. Ray's metrics accept only ASCII.
    """
    path = run.path.rstrip("/")
    name = re.sub(r"[^\w.-]", "_", path.rpartition("/")[2], flags=re.ASCII)
    return f"{name}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


class _LineFormatter(JsonFormatter):
    def __init__(self, run: str) -> None:
        super().__init__(
            "%(levelname)s %(message)s",
            rename_fields={"levelname": "level", "exc_info": "error"},
            static_fields={"run": run},
            timestamp="time",
        )

    def formatException(self, ei: Any) -> str:
        return _type_and_frames(ei[1])

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return log_data | {"message": safe(log_data["message"])}


def _type_and_frames(error: BaseException | None) -> str:
    """The chain of errors behind this one, innermost first, each with its frames."""
    lines: list[str] = []
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        part = [f"{type(error).__module__}.{type(error).__qualname__}"]
        if isinstance(error, Stopped):
            part[0] += f": {error}"  # a message from this package
        for frame in traceback.extract_tb(error.__traceback__):
            part.append(f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}')
        # An actor's error arrives as text in Ray's message.
        part += re.findall(r'^ *File ".+", line \d+, in \w+', str(error), re.MULTILINE)
        lines = part + lines
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


class _Local(logging.FileHandler):
    """Appends to a file; creates file and directory with the first line."""

    def __init__(self, run: Run, name: str) -> None:
        super().__init__(run.at(LOGS, f"{name}.jsonl"), encoding="utf-8", delay=True)

    def _open(self) -> Any:
        os.makedirs(os.path.dirname(self.baseFilename), exist_ok=True)
        return super()._open()


class _Remote(BufferingHandler):
    """For object stores, which cannot append: a new file every few lines and for each warning."""

    def __init__(self, run: Run, name: str) -> None:
        super().__init__(MOST_HELD)
        self.run, self.name, self.parts = run, name, 0
        # Runs before pyarrow, imported earlier, shuts down its S3 client.
        atexit.register(self.close)

    def shouldFlush(self, record: logging.LogRecord) -> bool:
        return super().shouldFlush(record) or record.levelno >= logging.WARNING

    def flush(self) -> None:
        with self.lock:  # type: ignore[union-attr]
            if not self.buffer:
                return
            lines = [self.format(record) + "\n" for record in self.buffer]
            try:
                name = f"{self.name}-{self.parts:04d}.jsonl"
                self.run.write("".join(lines).encode(), LOGS, name)
            except OSError:
                self.handleError(self.buffer[-1])
                return
            self.parts += 1
            self.buffer.clear()
