"""A result on the Hugging Face hub, with its card; nothing else of its run goes there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from smotext_ray.errors import UserError
from smotext_ray.run.card import digests, finished_manifest
from smotext_ray.run.directory import Run
from smotext_ray.utils.hub import CARD_FILE, HubTarget, upload

CHUNK = 1 << 22


def push_result(run: Run, repo_id: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload the result of a run and its card as a data set.

    Parameters
    ----------
    run : Run
    repo_id : str
        ``user/name``, or a name alone for a repository of the token's owner. It is made
        where there is none.
    private : bool, default=True
        Whether it must be a private repository; False makes a public one.
    token : str, optional
        Default: the one that ``hf auth login`` has stored, or ``HF_TOKEN``.

    Returns
    -------
    str
        The repository's whole name, as ``datasets.load_dataset`` takes it.

    Raises
    ------
    UserError
        If the run has no result or no card of it, its files have changed, or the hub refuses.
    """
    manifest = finished_manifest(run)
    _check_card(run, manifest)
    files = manifest["result"]["sha256"]
    with TemporaryDirectory() as name:
        directory = Path(name)
        for file, digest in files.items():
            if _copy(run, file, directory / file) != digest:
                raise UserError(
                    f"{run.uri.rstrip('/')}/{file} is not what the run has written, as "
                    f"smotext verify {run.uri} tells too; put the run's own file back."
                )
        _copy(run, CARD_FILE, directory / CARD_FILE)
        message = f"Upload {manifest['result']['rows']} rows"
        target = HubTarget(repo_id, "dataset", private, token, message)
        return upload(directory, [CARD_FILE, *files], target, "The result")


def _check_card(run: Run, manifest: dict[str, Any]) -> None:
    command = f"smotext card {run.uri}"
    if not run.has(CARD_FILE):
        raise UserError(f"The result in {run.uri} has no card; write it first with: {command}")
    if digests(manifest) not in run.read(CARD_FILE).decode(errors="replace"):
        raise UserError(
            f"The {CARD_FILE} in {run.uri} is of another result; write it anew with: "
            f"{command} --overwrite"
        )


def _copy(run: Run, file: str, target: Path) -> str:
    """Copy a file of the run to this machine; returns the SHA-256 of what was copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with run.fs.open_input_stream(run.at(file)) as source, target.open("wb") as sink:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            sink.write(chunk)
    return digest.hexdigest()
