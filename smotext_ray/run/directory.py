"""The run directory: a run's tables and manifest, on any file system.

    RUN/corpus/            the validated input: id, text, label, extra columns
    RUN/to_embed/          rows to embed, until they have an embedding
    RUN/embeddings/        id, text, label, embedding
    RUN/reference/         the gate's reference
    RUN/bridge/            the bridge adapted to these texts, with adapt.minutes
    RUN/weights/           source weights of texts, if plan.variant is not smote
    RUN/plan/round-1/      one row per point
    RUN/samples/round-1/   one row per decoded point
    RUN/controls/shuffled/ plan and samples of a control, if the run was evaluated
    RUN/augmented.parquet  the result
    RUN/README.md          its card, if written by `smotext card`
    RUN/lease/             which process is working on it, and its version of the manifest
    RUN/logs/              JSON lines, one file per process
    RUN/manifest.json      config, models, versions, progress

In a run with epsilon, clipped/ has the embeddings of the corpus until release.json is drawn from
them; then it and corpus/ are deleted, and embeddings/ has points drawn from the release. No other
table ever contains a text or an embedding of the corpus.

A stage counts as done when the manifest says so, and the manifest is replaced atomically: a kill
leaves either the old or the new version. A finished table lists its files in ``_files-*.json``;
others in its directory are leftovers.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from smotext_ray.errors import UserError
from smotext_ray.safe_text import safe, without_keys
from smotext_ray.utils.files import sync, whole_file
from smotext_ray.utils.filesystems import open_filesystem
from smotext_ray.utils.plain_types import check_plain_types

CLIPPED = "clipped"
TO_EMBED = "to_embed"

MANIFEST = "manifest.json"
LEASE = "lease"
SEAL = "_files-"  # followed by the token of the lease under which the list was written
UNHELD = "0"  # token of a list that was written without a lease; less than all others


class Run:
    """A run directory.

    Parameters
    ----------
    uri : str
        Directory, or any URI supported by pyarrow or fsspec.

    Attributes
    ----------
    address : str
        Address for processes on this or another machine: the URI, or the absolute path.
    token : str
        Token of the lease that this process holds; empty without one. Later ones are greater.
    saves : int
        Number of manifests saved under it.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.fs, self.path = open_filesystem(uri)
        # A worker may have another working directory.
        self.address = uri if "://" in uri else self.path
        self.token, self.saves = "", 0
        # While a lease is held, raises if it is lost.
        self.check_lease: Callable[[], None] = no_lease

    def __reduce__(self) -> tuple[type[Run], tuple[str]]:
        return Run, (self.address,)  # in a Ray task: reopened there, without the lease

    @property
    def shown(self) -> str:
        """The URI without credentials, for reports, cards and messages."""
        return safe(without_keys(self.uri))

    def at(self, *parts: str) -> str:
        """Path inside the run, for ``self.fs``."""
        return "/".join([self.path.rstrip("/"), *parts])

    def has(self, *parts: str) -> bool:
        """Whether a file or directory exists."""
        return bool(self.fs.get_file_info(self.at(*parts)).type != pafs.FileType.NotFound)

    def files(self, *parts: str) -> list[pafs.FileInfo]:
        """The files of a directory, sorted by name; none if there is no such directory."""
        selector = pafs.FileSelector(self.at(*parts), allow_not_found=True)
        try:
            found = [info for info in self.fs.get_file_info(selector) if info.is_file]
        except NotADirectoryError:
            return []
        return sorted(found, key=lambda info: info.base_name)

    def table(self, *parts: str) -> ds.Dataset:
        """Open a directory of parquet files as a pyarrow dataset; only listed ones if it is sealed.

        Its columns are those of the first file, to whose types a scan casts all other files.

        Raises
        ------
        FileNotFoundError
            If there is no such directory, or a listed file is gone.
        """
        listed = self.sealed(*parts)
        source = self.at(*parts) if listed is None else [self.at(*parts, f) for f in listed]
        found = ds.dataset(source, format="parquet", filesystem=self.fs)
        check_plain_types(found.schema, self.uri.rstrip("/") + "/" + "/".join(parts))
        return found

    def seal(self, files: list[str], *parts: str) -> None:
        """List the files that make up a finished table; others in its directory do not count.

        Readers then need no directory listing, which may be late, and ignore files that a process
        without the lease still writes. Of two lists, the later holder's counts.

        Raises
        ------
        LeaseLost
            If this process had a lease and has lost it.
        """
        self.check_lease()
        self.sync([self.at(*parts, name) for name in files])
        token = self.token or self._newest_seal(*parts) or UNHELD
        content = json.dumps({"files": sorted(files)}, indent=0)
        self.write(content.encode(), *parts, f"{SEAL}{token}.json")

    def sealed(self, *parts: str) -> list[str] | None:
        """The listed files of a table; None if it is not sealed."""
        token = self._newest_seal(*parts)
        if token is None:
            return None
        names = [
            str(name) for name in json.loads(self.read(*parts, f"{SEAL}{token}.json"))["files"]
        ]
        if any("/" in name for name in names):
            raise UserError(f"{self.at(*parts)} lists files outside of it; do not use this run.")
        return names

    def _newest_seal(self, *parts: str) -> str | None:
        names = [info.base_name for info in self.files(*parts)]
        tokens = [name[len(SEAL) : -len(".json")] for name in names if name.startswith(SEAL)]
        return max(tokens, default=None)

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
        """Write a small file atomically: to a temporary name first, then renamed.

        On a local disk, it then also survives a power failure.
        """
        write_whole(self.fs, self.at(*parts), content)

    def read(self, *parts: str) -> bytes:
        """Read a small file."""
        with self.fs.open_input_stream(self.at(*parts)) as stream:
            return bytes(stream.read())

    def sync(self, paths: list[str]) -> None:
        """Flush files written by others to disk, if it is a local one."""
        if isinstance(self.fs, pafs.LocalFileSystem):
            directories = {path.rpartition("/")[0] for path in paths}
            sync([Path(path) for path in (*paths, *sorted(directories))])


def write_whole(fs: pafs.FileSystem, path: str, content: bytes) -> None:
    """Write a small file atomically: see `Run.write`."""
    directory, name = path.rsplit("/", 1)
    fs.create_dir(directory, recursive=True)
    if isinstance(fs, pafs.LocalFileSystem):
        with whole_file(Path(path), Path(directory, partial_name(name))) as handle:
            handle.write(content)
        return
    partial = f"{directory}/{partial_name(name)}"
    try:
        with fs.open_output_stream(partial) as stream:
            stream.write(content)
        fs.move(partial, path)
    except Exception:
        with suppress(OSError):
            fs.delete_file(partial)
        raise


def partial_name(name: str) -> str:
    """A temporary name for a file that no other writer uses.

    Readers do not mistake a leftover of a kill for a table: pyarrow ignores names that start with
    "_", Ray those with other extensions.
    """
    return f"_{name}.partial-{uuid.uuid4().hex[:12]}"


def file_sha256(run: Run, *parts: str) -> str:
    """Hash of a file of the run."""
    digest = hashlib.sha256()
    with run.fs.open_input_stream(run.at(*parts)) as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def changed_files(run: Run, digests: Mapping[str, str], *directory: str) -> list[str]:
    """Names of the files that are missing or have a different hash."""
    return [
        file
        for file, digest in digests.items()
        if not run.has(*directory, file) or file_sha256(run, *directory, file) != digest
    ]


def no_lease() -> None:
    """Nothing to check: this process holds no lease."""
