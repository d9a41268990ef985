"""Atomic file writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(file: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that gets its name only when it is complete and on disk.

    A kill during the write, or a power failure after it, leaves the old file or none.

    Parameters
    ----------
    file : Path
        Must have only one writer at a time.

    Yields
    ------
    BinaryIO
    """
    partial = file.with_name(f".{file.name}")
    with partial.open("wb") as handle:
        yield handle
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(partial, file)
