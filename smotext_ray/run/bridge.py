"""The bridge that a run has adapted to its own texts: ``RUN/bridge/``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.run.directory import Run, changed_files
from smotext_ray.run.manifest import Manifest
from smotext_ray.utils.filesystems import child

BRIDGE = "bridge"


def store_bridge(run: Run, directory: Path) -> dict[str, str]:
    """Copy a bridge into the run.

    Its directory there is named after its content, so that it cannot collide with a different
    bridge that another process writes at the same time.

    Returns
    -------
    dict
        Maps the files' names in the run to their SHA-256.
    """
    contents = {file.name: file.read_bytes() for file in sorted(directory.iterdir())}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    own = hashlib.sha256("".join(digests.values()).encode()).hexdigest()[:16]
    for name, content in contents.items():
        run.write(content, BRIDGE, own, name)
    return {f"{BRIDGE}/{own}/{name}": digest for name, digest in digests.items()}


def with_own_bridge(config: RunConfig, run: Run, manifest: Manifest) -> RunConfig:
    """The settings with which a run's points are decoded: with its adapted bridge, if it has one.

    Not for the manifest, which names the bridge that the run started with.

    Raises
    ------
    UserError
        If the adapted bridge is missing or has changed.
    """
    if manifest.adapted is None or not manifest.adapted.files:
        return config
    if changed := changed_files(run, manifest.adapted.files):
        raise UserError(
            f"The adapted bridge of {run.shown} is not as it was ({changed[0]} is missing or has "
            "changed); restore it from a copy, or begin again in another directory."
        )
    directory = next(iter(manifest.adapted.files)).rpartition("/")[0]
    path = child(run.address, directory)
    return config.model_copy(update={"bridge": config.bridge.model_copy(update={"path": path})})
