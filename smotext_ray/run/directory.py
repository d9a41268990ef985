"""The run directory: a run's tables and manifest, on any file system.

    RUN/corpus/            the validated input: id, text, label, extra columns
    RUN/embeddings/        id, text, label, embedding
    RUN/reference/         the gate's reference
    RUN/weights/           source weights of texts, if plan.variant is not smote
    RUN/plan/round-1/      one row per point
    RUN/samples/round-1/   one row per decoded point
    RUN/controls/shuffled/ plan and samples of a control, if the run was evaluated
    RUN/augmented.parquet  the result
    RUN/README.md          its card, if written by `smotext card`
    RUN/lease/             which process is working on it
    RUN/logs/              JSON lines, one file per process
    RUN/manifest.json      config, models, versions, progress

In a run with epsilon, corpus/ is deleted after embedding, and no other table ever contains its
texts.

A stage counts as done when the manifest says so, and the manifest is replaced atomically: a kill
leaves either the old or the new version.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from smotext_ray.utils.filesystems import open_filesystem
from smotext_ray.utils.plain_types import check_plain_types

NOISED = "noised"

MANIFEST = "manifest.json"
LEASE = "lease"


class Run:
    """A run directory.

    Parameters
    ----------
    uri : str
        Directory, or any URI supported by pyarrow or fsspec.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.fs, self.path = open_filesystem(uri)
        # Asked before the manifest is replaced; while a lease is held it raises if that is lost.
        self.before_save: Callable[[], None] | None = None

    def __reduce__(self) -> tuple[type[Run], tuple[str]]:
        return Run, (self.uri,)  # in a Ray task: reopened there, without the lease

    def at(self, *parts: str) -> str:
        """Path inside the run, for ``self.fs``."""
        return "/".join([self.path.rstrip("/"), *parts])

    def has(self, *parts: str) -> bool:
        """Whether a file or directory exists."""
        return bool(self.fs.get_file_info(self.at(*parts)).type != pafs.FileType.NotFound)

    def table(self, *parts: str) -> ds.Dataset:
        """Open a directory of parquet files as a pyarrow dataset.

        Its columns are those of the first file, to whose types a scan casts all other files.
        """
        found = ds.dataset(self.at(*parts), format="parquet", filesystem=self.fs)
        check_plain_types(found.schema, self.uri.rstrip("/") + "/" + "/".join(parts))
        return found

    def read_table(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read some columns of a parquet file.

        Parameters
        ----------
        path : str
            A path of ``self.fs``, as returned by `at`.
        columns : sequence of str, optional
            Default: all.
        """
        with self.fs.open_input_file(path) as stream, pq.ParquetFile(stream) as file:
            check_plain_types(file.schema_arrow, path)
            return file.read(None if columns is None else list(columns))

    def clear(self, *parts: str) -> None:
        """Remove leftovers of an unfinished stage."""
        if self.has(*parts):
            self.fs.delete_dir(self.at(*parts))

    def make(self, *parts: str) -> str:
        """Create a directory and return its path."""
        self.fs.create_dir(self.at(*parts), recursive=True)
        return self.at(*parts)

    def write(self, content: bytes, *parts: str) -> None:
        """Write a small file atomically: to a temporary name first, then renamed."""
        directory, name = self.at(*parts).rsplit("/", 1)
        self.fs.create_dir(directory, recursive=True)
        # No reader takes a leftover of a kill for a table: pyarrow ignores names that start with
        # "_", Ray those with another extension.
        partial = f"{directory}/_{name}.partial-{os.getpid()}"
        with self.fs.open_output_stream(partial) as stream:
            stream.write(content)
        self.fs.move(partial, self.at(*parts))

    def read(self, *parts: str) -> bytes:
        """Read a small file."""
        with self.fs.open_input_stream(self.at(*parts)) as stream:
            return bytes(stream.read())


def file_sha256(run: Run, *parts: str) -> str:
    """Hash of a file of the run."""
    digest = hashlib.sha256()
    with run.fs.open_input_stream(run.at(*parts)) as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
