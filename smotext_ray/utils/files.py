"""Write a file so that it is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(file: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only when it is whole and on disk.

    A kill while it is written, or a loss of power after it, leaves the old file or none.

    Parameters
    ----------
    file : Path
        One process at a time writes it.

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
