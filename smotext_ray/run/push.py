"""Upload a result and its card, and nothing else of the run, to the Hugging Face hub."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from smotext_ray.errors import UserError
from smotext_ray.run.card import digests, finished_manifest
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import Result
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.result import DIRECTORY, FILE
from smotext_ray.utils.hub import CARD_FILE, HubTarget, upload

CHUNK = 1 << 22
PART = re.compile(rf"{DIRECTORY}/part-\d{{5,}}\.parquet", re.ASCII)


def push_result(run: Run, repo_id: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload the result of a run and its card as a dataset.

    Parameters
    ----------
    run : Run
    repo_id : str
        ``user/name``, or just a name for a repository of the token's owner. Created if missing.
    private : bool, default=True
        Whether the repository must be private; False creates a public one.
    token : str, optional
        Default: the one stored by ``hf auth login``, or ``HF_TOKEN``.

    Returns
    -------
    str
        The full repository name, for ``datasets.load_dataset``.

    Raises
    ------
    UserError
        If the run has no result or no matching card, its files have changed, or the hub refuses.
    """
    manifest = finished_manifest(run)
    files = _files(run, manifest.written_result)
    _check_card(run, manifest)
    with TemporaryDirectory() as name:
        directory = Path(name)
        for file, digest in files.items():
            if _copy(run, file, directory / file) != digest:
                raise UserError(
                    f"{run.uri.rstrip('/')}/{file} has changed since the run wrote it "
                    f"(see smotext verify {run.uri}); restore the original file."
                )
        _copy(run, CARD_FILE, directory / CARD_FILE)
        message = f"Upload {manifest.written_result.rows} rows"
        target = HubTarget(repo_id, "dataset", private, token, message)
        return upload(directory, [CARD_FILE, *files], target, "The result")


def _files(run: Run, result: Result) -> dict[str, str]:
    """The result's files with their digests; rejects names that only a modified manifest has."""
    for file in result.sha256:
        if file != FILE and not PART.fullmatch(file):
            raise UserError(
                f"The manifest of {run.uri} names {file!r} as a file of the result, which no run "
                "writes; it was changed by someone else, so nothing was uploaded."
            )
    return result.sha256


def _check_card(run: Run, manifest: Manifest) -> None:
    command = f"smotext card {run.uri}"
    if not run.has(CARD_FILE):
        raise UserError(f"The result in {run.uri} has no card; write it first with: {command}")
    if digests(manifest) not in run.read(CARD_FILE).decode(errors="replace"):
        raise UserError(
            f"The {CARD_FILE} in {run.uri} is for another result; rewrite it with: "
            f"{command} --overwrite"
        )


def _copy(run: Run, file: str, target: Path) -> str:
    """Copy a file of the run to this machine; returns the SHA-256 of the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with run.fs.open_input_stream(run.at(file)) as source, target.open("wb") as sink:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            sink.write(chunk)
    return digest.hexdigest()
