"""The per-machine cache: converted models, and digests of weight files."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from smotext_ray.errors import UserError

# A file that changes twice within a tick of the file system's clock keeps its mtime, so digests are
# only cached for files that have not changed for longer than this.
SETTLED_SECONDS = 2.0
# Every bridge that a run adapts adds two of these: the LLM with its layers and, for a bucket, its
# copy. Later runs do not need them.
OF_ONE_BRIDGE = re.compile(r"merged-.+-[0-9a-f]{12}|bridge-[0-9a-f]{40}")
UNUSED_SECONDS = 30 * 86_400
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def cache_dir() -> Path:
    """The directory for converted models: ``$SMOTEXT_CACHE`` or ``~/.cache/smotext-ray``.

    Only its owner can access it, because a bridge merged into an LLM may contain texts that it was
    trained on.
    """
    return Path(os.environ.get("SMOTEXT_CACHE") or Path.home() / ".cache" / "smotext-ray")


def made_once(name: str, make: Callable[[Path], Any]) -> Path:
    """A model in the cache directory, created if missing.

    On that occasion, models of single bridges that were not used for a month are deleted.

    One process on the machine creates it while the others wait. If that process is killed, the next
    one creates it.

    Parameters
    ----------
    name : str
        Directory name, which identifies the model's source.
    make : callable
        Writes the model into the empty directory that it is given.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        If the cache directory cannot be written or is full.
    """
    target = cache_dir() / name
    if _is_whole(target):
        with suppress(OSError):
            os.utime(target)  # mark it as used
        return target
    try:
        with _alone():
            if not _is_whole(target):
                _remove_unused()
                with whole_directory(target) as partial:
                    make(partial)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise UserError(
            f"{target} cannot be written ({os.strerror(error.errno)}); free up space there, or set "
            "SMOTEXT_CACHE to another directory."
        ) from error
    return target


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """A temporary directory that is renamed to ``target`` on success.

    Two processes that write the same model at once both end up with a complete one; a killed one
    leaves nothing at ``target``.
    """
    _make_private(target.parent)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield partial
        partial.rename(target)
    except OSError:
        if not _is_whole(target):
            raise
        # Another process was faster; its model is the same.
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # already renamed on success


def digest_of(files: Sequence[Path]) -> str:
    """The SHA-256 of concatenated files.

    Files are read once per machine: the digest is cached together with their paths, sizes and
    times, and recomputed if any of those changes.

    Parameters
    ----------
    files : sequence of Path

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    note, changed = _note(files)
    if found := _read(note):
        return found
    with _alone():
        if found := _read(note):
            return found
        digest = sha256_of(files)
        if time.time() - changed >= SETTLED_SECONDS:
            _write(note, digest)
    return digest


def sha256_of(files: Sequence[Path]) -> str:
    """Like `digest_of`, without the cache."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            while chunk := handle.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def _make_private(directory: Path) -> None:
    """Create a directory for its owner alone; an existing one keeps its mode."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)


def _remove_unused() -> None:
    """Delete models that were created for one bridge and not used for a month."""
    before = time.time() - UNUSED_SECONDS
    for directory in sorted(cache_dir().glob("*")):
        if not OF_ONE_BRIDGE.fullmatch(directory.name) or not _is_whole(directory):
            continue
        with suppress(OSError):
            if directory.stat().st_mtime < before:
                # Renamed in one step, so that no process finds only a part of it.
                gone = directory.rename(directory.with_name(f".{directory.name}-{os.getpid()}"))
                shutil.rmtree(gone)


def _is_whole(directory: Path) -> bool:
    return (directory / "config.json").exists()


@contextmanager
def _alone() -> Iterator[None]:
    """Machine-wide lock for the block; do not nest.

    The kernel releases the lock if the process dies.
    """
    with ExitStack() as held:
        # If the cache cannot be written or the file system has no locks, several processes do the
        # same work: slower, but just as correct.
        with suppress(OSError):
            _make_private(cache_dir())
            lock = held.enter_context((cache_dir() / ".lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _note(files: Sequence[Path]) -> tuple[Path, float]:
    """The cache file for the digest of the files as they are now, and their latest change."""
    stats = [(str(file.resolve()), file.stat()) for file in files]
    # ctime too: a copy can preserve its mtime.
    facts = [(path, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in stats]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return cache_dir() / "digests" / key, max((s.st_ctime for _, s in stats), default=0.0)


def _read(note: Path) -> str:
    try:
        return note.read_text()
    except OSError:
        return ""


def _write(note: Path, digest: str) -> None:
    with suppress(OSError):  # the next process will read the files again
        _make_private(note.parent)
        partial = note.with_name(f".{note.name}-{os.getpid()}")
        partial.write_text(digest)
        partial.replace(note)
