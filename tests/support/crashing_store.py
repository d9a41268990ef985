"""A store in memory that counts what is changed in it, and stops a process at any of the changes.

As a disk, a file has its name from the moment that it is opened, and a move is one step. As a
bucket, a file is there when it is closed, a move is a copy and then a delete, and a listing shows
what others than the driver have written only after a while.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from pyarrow import fs as pafs

from smotext_ray.pipeline import complete, embed
from smotext_ray.run import claims, directory, lease

URI = "crash://store/run"
PATH = "store/run"
LATE_SECONDS = 40.0


class Killed(BaseException):
    """No process sees its end."""


@dataclass
class File:
    content: bytes
    at: float


@dataclass
class Disk(pafs.FileSystemHandler):
    """Files by path. ``stop_at`` is the change before which the process ends, from 0."""

    files: dict[str, File] = field(default_factory=dict)
    steps: int = 0
    stop_at: int | None = None
    now: float = 1000.0

    def step(self) -> None:
        """Called before every change."""
        if self.stop_at is not None and self.steps >= self.stop_at:
            raise Killed
        self.steps += 1

    def put(self, path: str, content: bytes) -> None:
        self.now += 0.001
        self.files[path] = File(content, self.now)

    def is_listed(self, path: str) -> bool:
        return True

    # What pyarrow asks of a file system

    def get_type_name(self) -> str:
        return "crashing"

    def normalize_path(self, path: str) -> str:
        return path

    def _info(self, path: str) -> pafs.FileInfo:
        path = path.rstrip("/")
        if path in self.files:
            file = self.files[path]
            return pafs.FileInfo(
                path, pafs.FileType.File, size=len(file.content), mtime_ns=int(file.at * 1e9)
            )
        is_directory = any(name.startswith(path + "/") for name in self.files)
        return pafs.FileInfo(
            path, pafs.FileType.Directory if is_directory else pafs.FileType.NotFound
        )

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        base = selector.base_dir.rstrip("/")
        if base in self.files:
            raise NotADirectoryError(base)
        below = [name for name in self.files if name.startswith(base + "/")]
        if not below and not selector.allow_not_found:
            raise FileNotFoundError(base)
        listed = {name for name in below if self.is_listed(name)}
        if not selector.recursive:
            listed = {base + "/" + name[len(base) + 1 :].split("/")[0] for name in listed}
        return [self._info(name) for name in sorted(listed)]

    def create_dir(self, path: str, recursive: bool) -> None:
        """Directories are there with their files."""

    def delete_dir(self, path: str) -> None:
        for name in [name for name in self.files if name.startswith(path.rstrip("/") + "/")]:
            if self.is_listed(name):
                self.delete_file(name)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self.delete_dir(path)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError

    def delete_file(self, path: str) -> None:
        if path not in self.files:
            raise FileNotFoundError(path)
        self.step()
        del self.files[path]

    def move(self, source: str, target: str) -> None:
        if source not in self.files:
            raise FileNotFoundError(source)
        self.step()
        self.put(target, self.files.pop(source).content)

    def copy_file(self, source: str, target: str) -> None:
        self.step()
        self.put(target, self.files[source].content)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        if path not in self.files:
            raise FileNotFoundError(path)
        return pa.BufferReader(self.files[path].content)

    def open_output_stream(self, path: str, metadata: object) -> pa.NativeFile:
        self.step()
        self.put(path, b"")
        return pa.PythonFile(_Upload(self, path), mode="w")

    def open_append_stream(self, path: str, metadata: object) -> pa.NativeFile:
        raise NotImplementedError

    def finish(self, path: str, content: bytes) -> None:
        """A stream is closed: half of the file is there, and then all."""
        self.step()
        self.put(path, content[: len(content) // 2])
        self.step()
        self.put(path, content)


class Bucket(Disk):
    """An object store."""

    def is_listed(self, path: str) -> bool:
        # Directories that the driver writes, or that are new, are listed as they are.
        mine = tuple(f"{PATH}/{name}/" for name in ("lease", "corpus", "checkpoints"))
        is_mine = path.startswith(mine) or "/_" in path
        return is_mine or self.now - self.files[path].at >= LATE_SECONDS

    def move(self, source: str, target: str) -> None:
        self.copy_file(source, target)
        self.delete_file(source)

    def open_output_stream(self, path: str, metadata: object) -> pa.NativeFile:
        return pa.PythonFile(_Upload(self, path), mode="w")

    def finish(self, path: str, content: bytes) -> None:
        self.step()
        self.put(path, content)


class _Upload(io.BytesIO):
    def __init__(self, store: Disk, path: str) -> None:
        super().__init__()
        self._store, self._path = store, path

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            self._store.finish(self._path, content)


class _Clock:
    """The clock of what waits for a late listing."""

    def __init__(self, store: Disk) -> None:
        self._store = store

    def monotonic(self) -> float:
        return self._store.now

    def sleep(self, seconds: float) -> None:
        self._store.now += seconds


@contextmanager
def process_on(store: Disk, stop_at: int | None = None) -> Iterator[None]:
    """Within the block this process is a new one, whose runs are on the store."""
    store.steps, store.stop_at = 0, stop_at
    with pytest.MonkeyPatch.context() as patch:
        opened = (pafs.PyFileSystem(store), PATH)
        patch.setattr(directory, "open_filesystem", lambda uri: opened)
        _Process.number += 1
        number = _Process.number
        for module in (claims, lease):
            patch.setattr(module, "identity", lambda pid: f"boot namespace {number}")
        patch.setattr(complete, "time", _Clock(store))
        patch.setattr(embed, "log_to_run", lambda run: None)  # a log outlives its process here
        yield


class _Process:
    number = 0


def basenames(store: Disk, below: str) -> list[str]:
    """Names of the files of a directory of the run."""
    start = f"{PATH}/{below}/"
    return [posixpath.basename(name) for name in store.files if name.startswith(start)]
