"""The Hugging Face hub: repository names, uploads, and its errors in plain words.

Files are uploaded by exact name, so nothing else in the same directory is ever sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smotext_ray.errors import UserError, one_line
from smotext_ray.safe_text import safe, without_keys

CARD_FILE = "README.md"
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def is_hub_name(name: str) -> bool:
    """Whether ``name`` has the form ``user/name`` and is not a local path."""
    return bool(_HUB_NAME.fullmatch(name)) and not Path(name).exists()


def shown(name: str) -> str:
    """A model's name for display; for a local directory, only its last part."""
    return name if is_hub_name(name) else safe(last_part(without_keys(name)))


def last_part(name: str) -> str:
    """The last part of a directory or repository name.

    Examples
    --------
    >>> last_part("some-lab/an-encoder"), last_part("/home/me/llm/")
    ('an-encoder', 'llm')
    """
    return Path(name).name or name


@dataclass(frozen=True)
class HubTarget:
    """Where on the hub to upload something, and as which user.

    Attributes
    ----------
    repo_id : str
        ``user/name``, or just a name for a repository of the token's owner. Created if missing.
    kind : {"model", "dataset"}
        Type of the repository.
    private : bool or None
        Create a private repository; True rejects an existing public one. None: the owner's
        default for new repositories.
    token : str or None
        None: the one stored by ``hf auth login``, or ``HF_TOKEN``.
    commit_message : str
    """

    repo_id: str
    kind: Literal["model", "dataset"]
    private: bool | None
    token: str | None
    commit_message: str


def upload(directory: Path, files: Sequence[str], target: HubTarget, what: str) -> str:
    """Upload some files of a directory.

    Parameters
    ----------
    directory : Path
    files : sequence of str
        Their names in the directory and in the repository.
    target : HubTarget
    what : str
        What is uploaded, for error messages.

    Returns
    -------
    str
        The full repository name.

    Raises
    ------
    UserError
        If the hub refuses, or cannot be reached.
    """
    from huggingface_hub import create_repo, repo_info, upload_folder

    where: dict[str, Any] = {"repo_type": target.kind, "token": target.token}
    try:
        name = create_repo(target.repo_id, private=target.private, exist_ok=True, **where).repo_id
        # For an existing repository, create_repo ignores ``private``.
        if target.private and not repo_info(name, **where).private:
            raise UserError(
                f"The repository {name} already exists and is public; make "
                "it private in its settings "
                "on the hub, or use another name."
            )
        upload_folder(
            repo_id=name,
            folder_path=directory,
            allow_patterns=list(files),
            commit_message=target.commit_message,
            **where,
        )
    except UserError:
        raise
    except Exception as error:  # several libraries raise many different classes
        raise UserError(
            f"{what} cannot be uploaded to {target.repo_id} on the hub ({why_refused(error)})."
        ) from error
    return name


def why_refused(error: Exception) -> str:
    """Why the hub refused, and what to do about it if known."""
    import httpx
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.OfflineModeIsEnabled) or isinstance(
        error.__cause__, errors.OfflineModeIsEnabled
    ):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, errors.HFValidationError):
        return "the repository name is invalid"
    if isinstance(error, errors.GatedRepoError):
        return "request access on its page there"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "no such repository, or a private one that needs a token: hf auth login, or HF_TOKEN"
    if isinstance(error, errors.LocalTokenNotFoundError) or status == 401:
        return "no valid token; run hf auth login, or set HF_TOKEN"
    if status == 403:
        return "the token lacks permission"
    if isinstance(error, (errors.LocalEntryNotFoundError, httpx.TransportError)):
        return "the hub cannot be reached"
    if type(error) is ValueError and CARD_FILE in str(error):  # such as an unknown license
        return one_line(error)
    return type(error).__name__
