"""Atomic file writes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from smotext_ray.errors import UserError


def new_file(name: str | Path) -> Path:
    """The path of a file to write after long work, checked in advance; creates its directory.

    Raises
    ------
    UserError
        If it is a directory.
    OSError
        If its directory cannot be created.
    """
    file = Path(name).expanduser()
    if file.is_dir():
        raise UserError(f"{file} is a directory; name a file to write.")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


@contextmanager
def whole_file(file: Path, partial: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file for writing that gets its name only when it is complete and on disk.

    A kill during the write leaves the old file or none; a power failure afterwards, the new one.

    Parameters
    ----------
    file : Path
        Must have only one writer at a time, unless each has its own ``partial``.
    partial : Path, optional
        Temporary name in the same directory.

    Yields
    ------
    BinaryIO
    """
    partial = partial or file.with_name(f".{file.name}")
    try:
        with partial.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, file)
    except Exception:
        partial.unlink(missing_ok=True)  # so that a full disk does not stay full
        raise
    sync([file.parent])


def sync(paths: Iterable[Path]) -> None:
    """Flush files or directories to disk, as they are now."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            # Some network and FUSE file systems refuse to sync a directory.
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
