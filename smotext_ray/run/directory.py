"""The run directory: where a run's tables and its manifest are, on any file system.

    RUN/corpus/            the input, checked: id, text, label, extra columns
    RUN/embeddings/        id, text, label, embedding
    RUN/reference/         what the gate knows of the corpus
    RUN/weights/           how likely each text is as a source, if plan.variant is not smote
    RUN/plan/round-1/      one row a point
    RUN/samples/round-1/   one row a decoded point
    RUN/controls/shuffled/ plan and samples of a control, if the run was evaluated
    RUN/augmented.parquet  the result
    RUN/README.md          its card, if `smotext card` was asked for one
    RUN/lease/             who works on it now
    RUN/logs/              JSON lines, a file a process
    RUN/manifest.json      config, models, versions, what is done

In a run with epsilon corpus/ is deleted once it is embedded, and no table but the corpus
ever holds a text of it.

A stage counts as done when the manifest says so, and the manifest is replaced whole:
a kill leaves either the old word or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

import pyarrow.dataset as ds
from pyarrow import fs as pafs

from smotext_ray.errors import UserError
from smotext_ray.run.renamed import renamed_manifest
from smotext_ray.utils.filesystems import open_filesystem

NOISED = "noised"

MANIFEST = "manifest.json"
LEASE = "lease"
FORMAT = 1


class Run:
    """One run directory.

    Parameters
    ----------
    uri : str
        Directory, or any URI that pyarrow or fsspec opens.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.fs, self.path = open_filesystem(uri)
        self.before_save: Callable[[], None] | None = None  # of a lease: it is still held

    def __reduce__(self) -> tuple[type[Run], tuple[str]]:
        return Run, (self.uri,)  # in a Ray task: opened there, and without the lease

    def at(self, *parts: str) -> str:
        """Path of something in the run, for ``self.fs``."""
        return "/".join([self.path.rstrip("/"), *parts])

    def has(self, *parts: str) -> bool:
        """Whether a file or directory is there."""
        return bool(self.fs.get_file_info(self.at(*parts)).type != pafs.FileType.NotFound)

    def table(self, *parts: str) -> ds.Dataset:
        """A directory of parquet files as a pyarrow dataset."""
        return ds.dataset(self.at(*parts), format="parquet", filesystem=self.fs)

    def clear(self, *parts: str) -> None:
        """Remove what an unfinished stage left, if anything."""
        if self.has(*parts):
            self.fs.delete_dir(self.at(*parts))

    def make(self, *parts: str) -> str:
        """Make a directory and return its path."""
        self.fs.create_dir(self.at(*parts), recursive=True)
        return self.at(*parts)

    def write(self, content: bytes, *parts: str) -> None:
        """Write a small file whole or not at all: beside its name first, then renamed."""
        directory, name = self.at(*parts).rsplit("/", 1)
        self.fs.create_dir(directory, recursive=True)
        # What a kill leaves of it no reader of the directory takes for a table: pyarrow
        # passes over names that begin with "_", Ray over those that end otherwise.
        partial = f"{directory}/_{name}.partial-{os.getpid()}"
        with self.fs.open_output_stream(partial) as stream:
            stream.write(content)
        self.fs.move(partial, self.at(*parts))

    def read(self, *parts: str) -> bytes:
        """A small file's content."""
        with self.fs.open_input_stream(self.at(*parts)) as stream:
            return bytes(stream.read())

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it is on disk now."""
        try:
            manifest = json.loads(self.read(MANIFEST))
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"There is no run in {self.uri} (no {MANIFEST}).") from None
        except ValueError as error:
            raise UserError(f"The {MANIFEST} in {self.uri} is damaged: {error}.") from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise UserError(
                f"The {MANIFEST} in {self.uri} is not of this version of smotext; "
                "use the version that wrote it, or a new directory."
            )
        return renamed_manifest(manifest)

    def save(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        if self.before_save:
            self.before_save()
        self.write((json.dumps(manifest, indent=2, default=str) + "\n").encode(), MANIFEST)


def file_sha256(run: Run, *parts: str) -> str:
    """Hash of one of the run's files."""
    digest = hashlib.sha256()
    with run.fs.open_input_stream(run.at(*parts)) as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
