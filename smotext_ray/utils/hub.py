"""The Hugging Face hub: repository names, uploads, and its errors in plain words.

Files are uploaded by exact name, so nothing else in the same directory is ever sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from smotext_ray.errors import UserError, one_line

CARD_FILE = "README.md"
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def is_hub_name(name: str) -> bool:
    """Whether ``name`` has the form ``user/name`` and is not a local path."""
    return bool(_HUB_NAME.fullmatch(name)) and not Path(name).exists()


def shown(name: str) -> str:
    """A model's name for display; for a local directory, only its last part."""
    return name if is_hub_name(name) else last_part(name)


def last_part(name: str) -> str:
    """The last part of a directory or repository name.

    Examples
    --------
    >>> last_part("some-lab/an-encoder"), last_part("/home/me/llm/")
    ('an-encoder', 'llm')
    """
    return Path(name).name or name


def upload(
    directory: Path,
    files: Sequence[str],
    repo_id: str,
    *,
    kind: Literal["model", "dataset"],
    what: str,
    private: bool | None,
    token: str | None,
    commit_message: str,
    replace_card: bool = True,
) -> str:
    """Upload some files of a directory.

    Parameters
    ----------
    directory : Path
    files : sequence of str
        Their names in the directory and in the repository.
    repo_id : str
        ``user/name``, or just a name for a repository of the token's owner. Created if missing.
    kind : {"model", "dataset"}
        Type of the repository.
    what : str
        What is uploaded, for error messages.
    private : bool or None
        Create a private repository; True rejects an existing public one. None: the account's
        default visibility.
    token : str or None
        None: the one stored by ``hf auth login``, or ``HF_TOKEN``.
    commit_message : str
    replace_card : bool, default=True
        Whether to replace the repository's card, if it has one.

    Returns
    -------
    str
        The full repository name.

    Raises
    ------
    UserError
        If the hub refuses, or cannot be reached.
    """
    from huggingface_hub import create_repo, file_exists, repo_info, upload_folder

    try:
        name = create_repo(
            repo_id, private=private, token=token, exist_ok=True, repo_type=kind
        ).repo_id
        # create_repo ignores `private` if the repository exists.
        if private and not repo_info(name, token=token, repo_type=kind).private:
            raise UserError(
                f"The repository {name} already exists and is public; make "
                "it private in its settings "
                "on the hub, or use another name."
            )
        if not replace_card and file_exists(name, CARD_FILE, token=token, repo_type=kind):
            files = [file for file in files if file != CARD_FILE]
        upload_folder(
            repo_id=name,
            repo_type=kind,
            folder_path=directory,
            allow_patterns=list(files),
            commit_message=commit_message,
            token=token,
        )
    except UserError:
        raise
    except Exception as error:  # several libraries raise many different classes
        raise UserError(
            f"{what} cannot be uploaded to {repo_id} on the hub ({why_refused(error)})."
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
