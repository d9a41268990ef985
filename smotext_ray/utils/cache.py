"""What is made once per machine and kept: converted models, and the digests of weight files."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from smotext_ray.errors import UserError

# A file that changes twice within a tick of the file system's clock keeps its time: a digest is
# remembered only of files that have not changed for longer.
SETTLED_SECONDS = 2.0
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def cache_dir() -> Path:
    """The directory for converted models: ``$SMOTEXT_CACHE`` or ``~/.cache/smotext-ray``."""
    return Path(os.environ.get("SMOTEXT_CACHE") or Path.home() / ".cache" / "smotext-ray")


def made_once(name: str, make: Callable[[Path], Any]) -> Path:
    """A model in the cache directory, made unless it is there.

    One process of the machine makes it, and the others wait for it. If that process is killed,
    the next one makes it.

    Parameters
    ----------
    name : str
        Of its directory: says what the model is made of.
    make : callable
        Writes it into the empty directory that it is given.

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
        return target
    try:
        with _alone():
            if not _is_whole(target):
                with whole_directory(target) as partial:
                    make(partial)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise UserError(
            f"{target} cannot be written ({os.strerror(error.errno)}); free some space there, or "
            "name another directory in SMOTEXT_CACHE."
        ) from error
    return target


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """A directory to write a model into, which becomes ``target`` when it is whole.

    Two processes that write the same model at once both end with a whole one; a killed
    one leaves none.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp's own is for this user alone
        partial.rename(target)
    except OSError:
        if not _is_whole(target):
            raise
        # Another process was first; its model is the same.
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # renamed already where all went well


def digest_of(files: Sequence[Path]) -> str:
    """The SHA-256 of files, one after another.

    They are read once per machine: the digest is remembered in the cache directory together
    with their paths, sizes and times, and computed again if one of those is different.

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
    """As `digest_of`, read now whatever is remembered."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            while chunk := handle.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def _is_whole(directory: Path) -> bool:
    return (directory / "config.json").exists()


@contextmanager
def _alone() -> Iterator[None]:
    """In the block this is the only process of the machine; do not nest.

    The lock is the kernel's, which takes it back from a process that dies.
    """
    with ExitStack() as held:
        # A cache that cannot be written, or a file system without locks: then several work at
        # once, which is slower and no less right.
        with suppress(OSError):
            cache_dir().mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((cache_dir() / ".lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _note(files: Sequence[Path]) -> tuple[Path, float]:
    """Where the digest of the files as they are now is kept, and when the last one changed."""
    stats = [(str(file.resolve()), file.stat()) for file in files]
    # The time of the last change of any kind too: a copy can keep the time of its content.
    facts = [(path, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in stats]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return cache_dir() / "digests" / key, max((s.st_ctime for _, s in stats), default=0.0)


def _read(note: Path) -> str:
    try:
        return note.read_text()
    except OSError:
        return ""


def _write(note: Path, digest: str) -> None:
    with suppress(OSError):  # the next process reads the files again
        note.parent.mkdir(parents=True, exist_ok=True)
        partial = note.with_name(f".{note.name}-{os.getpid()}")
        partial.write_text(digest)
        partial.replace(note)
