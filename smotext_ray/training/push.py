"""Bridges on the model hub: a repository holds what a bridge needs, and its card.

Files go by their whole names, both ways. So neither the training's state and the embeddings
of its texts, which may lie in the same directory, nor what a killed training has left half
written is ever sent; and of a repository with other models in it no weights are fetched.
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
    target = HubTarget(repo_id, "model", private, token, commit_message)
    return upload(directory, _files(config), target, WHAT)


def _files(config: BridgeConfig) -> list[str]:
    """What a repository of such a bridge holds."""
    lora = [ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE] if config.lora_rank else []
    return [CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, *lora]
