"""Bridges on the model hub: a repository holds what a bridge needs, and its card.

Files go by their whole names, both ways. So neither the training's state and the embeddings
of its texts, which may lie in the same directory, nor what a killed training has left half
written is ever sent; and of a repository with other models in it no weights are fetched.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from smotext_ray.bridge.config import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    BridgeConfig,
    check_weights,
    read_bridge_config,
)
from smotext_ray.errors import UserError

if TYPE_CHECKING:
    from smotext_ray.bridge.projector import Bridge

CARD_FILE = "README.md"
COMMIT_MESSAGE = "Upload a bridge"
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def is_hub_name(name: str) -> bool:
    """Whether ``name`` has the form ``user/name`` and nothing of that name is here."""
    return bool(_HUB_NAME.fullmatch(name)) and not Path(name).exists()


def local_directory(bridge: str | Path) -> Path:
    """The directory of a bridge, downloaded where ``bridge`` is a hub name.

    Parameters
    ----------
    bridge : str or Path
        A directory, or a hub name. A Path, what is there, and what has not the form
        ``user/name`` is a directory, whether there is a bridge in it or not.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        If it is to be had neither here nor from the hub.
    """
    if isinstance(bridge, Path):
        return bridge
    return _download(bridge) if is_hub_name(bridge) else Path(bridge).expanduser()


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    every = [CONFIG_FILE, WEIGHTS_FILE, CARD_FILE, ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE]
    try:
        directory = Path(snapshot_download(name, allow_patterns=every))
    # Each way to fail is a class of its own, of several libraries.
    except Exception as error:
        raise UserError(
            f"There is no bridge in {name}: it is no directory here, and cannot be had from "
            f"the model hub ({_reason(error)}); check the path, or the name on the hub."
        ) from error
    if not (directory / CONFIG_FILE).exists():
        raise UserError(
            f"There is no bridge in the repository {name} on the model hub ({CONFIG_FILE} is "
            "missing); check the name."
        )
    return directory


def push_directory(
    directory: Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str = COMMIT_MESSAGE,
) -> str:
    """Upload the bridge in a directory, with its card.

    Parameters
    ----------
    directory : Path
    repo_id : str
        ``user/name``, or a name alone for a repository of the token's owner. It is made
        where there is none.
    private : bool, optional
        Make a private repository; True refuses one that is there and public. Default: as
        the owner's new repositories are.
    token : str, optional
        Default: the one that ``hf auth login`` has stored, or ``HF_TOKEN``.
    commit_message : str

    Returns
    -------
    str
        The repository's whole name, as ``from_pretrained`` and ``bridge.path`` take it.

    Raises
    ------
    UserError
        If the directory holds no whole bridge with a card, or the hub refuses.
    """
    config = read_bridge_config(directory)
    check_weights(directory, config)
    if not (directory / CARD_FILE).exists():
        raise UserError(
            f"The bridge in {directory} has no model card ({CARD_FILE}); write it first with: "
            f"smotext bridge card --bridge {directory} --eval FILE"
        )
    return _upload(directory, _files(config), repo_id, private, token, commit_message)


def push_bridge(
    bridge: Bridge,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str = COMMIT_MESSAGE,
) -> str:
    """Upload a bridge from memory; as ``push_directory``.

    Its card, made of its config alone, never replaces one that the repository has.
    """
    if bridge.config.lora_rank:
        raise UserError(
            "This bridge has LoRA weights, which are in its directory alone; push that with: "
            f"smotext bridge push {repo_id} --bridge DIR"
        )
    from smotext_ray.bridge.card import write_card

    with TemporaryDirectory() as name:
        directory = Path(name)
        bridge.save_pretrained(directory)
        write_card(directory)
        files = _files(bridge.config)
        return _upload(
            directory, files, repo_id, private, token, commit_message, replace_card=False
        )


def _files(config: BridgeConfig) -> list[str]:
    """What a repository of such a bridge holds."""
    lora = [ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE] if config.lora_rank else []
    return [CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, *lora]


def _upload(
    directory: Path,
    files: list[str],
    repo_id: str,
    private: bool | None,
    token: str | None,
    commit_message: str,
    replace_card: bool = True,
) -> str:
    from huggingface_hub import create_repo, file_exists, model_info, upload_folder

    try:
        name = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        # For a repository that is there, create_repo passes over what it was told.
        if private and not model_info(name, token=token).private:
            raise UserError(
                f"The repository {name} is on the model hub already, and public; make it "
                "private in its settings there, or name another."
            )
        if not replace_card and file_exists(name, CARD_FILE, token=token):
            files = [file for file in files if file != CARD_FILE]
        upload_folder(
            repo_id=name,
            folder_path=directory,
            allow_patterns=files,
            commit_message=commit_message,
            token=token,
        )
    except UserError:
        raise
    except Exception as error:  # as many classes as in _download
        raise UserError(
            f"The bridge cannot be uploaded to {repo_id} on the model hub ({_reason(error)})."
        ) from error
    return name


def _reason(error: Exception) -> str:
    """Why the hub did not do as it was asked, and what helps if that is known."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.OfflineModeIsEnabled) or isinstance(
        error.__cause__, errors.OfflineModeIsEnabled
    ):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, errors.HFValidationError):
        return "no repository can have that name"
    if isinstance(error, errors.GatedRepoError):
        return "access to it has to be asked for on its page there"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "no such repository, or a private one that needs a token: hf auth login, or HF_TOKEN"
    if isinstance(error, errors.LocalTokenNotFoundError) or status == 401:
        return "no valid token; run hf auth login, or set HF_TOKEN"
    if status == 403:
        return "the token has no right to do that"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "the hub cannot be reached"
    if type(error) is ValueError and CARD_FILE in str(error):  # such as a license it knows not
        return " ".join(str(error).split())[:200]
    return type(error).__name__
