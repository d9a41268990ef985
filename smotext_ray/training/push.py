"""Upload bridges to the model hub: the files of a bridge and its card.

Files are listed by exact name in both directions. So neither the training state and cached
embeddings in the same directory nor partial files of a killed training are ever uploaded, and no
other models' weights are downloaded from a shared repository.
"""

from __future__ import annotations

from pathlib import Path

from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    BridgeConfig,
    check_weights,
    read_bridge_config,
)
from smotext_ray.utils.hub import CARD_FILE, HubTarget, upload

COMMIT_MESSAGE = "Upload a bridge"
WHAT = "The bridge"


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
        ``user/name``, or just a name for a repository of the token's owner. Created if missing.
    private : bool, optional
        Create a private repository; True rejects an existing public one. Default: the account's
        default visibility.
    token : str, optional
        Default: the one stored by ``hf auth login``, or ``HF_TOKEN``.
    commit_message : str

    Returns
    -------
    str
        The full repository name, for ``from_pretrained`` and ``bridge.path``.

    Raises
    ------
    UserError
        If the directory has no complete bridge with a card, or the hub refuses.
    """
    config = read_bridge_config(directory)
    check_weights(directory, config)
    if not (directory / CARD_FILE).exists():
        raise UserError(
            f"The bridge in {directory} has no model card ({CARD_FILE}); write it first with: "
            f"smotext bridge card --bridge {directory} --eval FILE"
        )
    target = HubTarget(repo_id, "model", private, token, commit_message)
    return upload(directory, _files(config), target, WHAT)


def _files(config: BridgeConfig) -> list[str]:
    """The files of such a bridge in its repository."""
    lora = [ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE] if config.lora_rank else []
    return [CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, *lora]
