"""Load a run's models, and check that they fit together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    WEIGHTS_FILE,
    check_weights,
    read_bridge_config,
)
from smotext_ray.models.files import bridge_directory, locate_model
from smotext_ray.utils.cache import sha256_of

if TYPE_CHECKING:
    from smotext_ray.models.bridge import Bridge


def load_decoder(config: RunConfig, **of_engine: Any) -> Any:
    """Load the run's bridge and LLM from this machine's files.

    ``of_engine`` are `Engine` settings that are not part of the configuration.
    """
    from smotext_ray.models.decoder import Decoder
    from smotext_ray.models.files import locate_model

    settings = config.decoder
    bridge, lora = load_bridge(config.bridge.path)
    return Decoder(
        locate_model(settings.model).path,
        bridge,
        lora=lora,
        **settings.model_dump(exclude={"model"}),
        **of_engine,
    )


def load_encoder(config: RunConfig) -> Any:
    """Load the run's encoder from this machine's files."""
    from smotext_ray.models.encoder import Encoder
    from smotext_ray.models.files import locate_model

    settings = config.encoder
    return Encoder(
        locate_model(settings.model).path,
        pooling=settings.pooling,
        normalize=settings.normalize,
        max_length=settings.max_length,
        dtype=settings.dtype,
    )


def load_bridge(spec: str) -> tuple[Bridge, Path | None]:
    """A bridge, and the directory of its LoRA layers if it has any, for a Decoder."""
    from smotext_ray.models.bridge import Bridge

    directory = bridge_directory(spec)
    bridge = Bridge.from_pretrained(directory)
    return bridge, directory if bridge.config.lora_rank else None


def check_models(config: RunConfig) -> dict[str, dict[str, str]]:
    """Locate the encoder, the LLM and the bridge of a run, and check that they fit together.

    Returns
    -------
    dict
        ``encoder``, ``llm`` and ``bridge``: each with ``name`` and ``sha256``, for the manifest.

    Raises
    ------
    UserError
        If one is missing, or the bridge was trained for other models.
    """
    encoder = locate_model(config.encoder.model)
    llm = locate_model(config.decoder.model)
    directory = bridge_directory(config.bridge.path)
    bridge = read_bridge_config(directory)
    check_weights(directory, bridge)
    for kind, found, name, digest in (
        ("encoder", encoder, bridge.encoder, bridge.encoder_sha256),
        ("LLM", llm, bridge.llm, bridge.llm_sha256),
    ):
        same = found.sha256 == digest if found.sha256 and digest else found.name == name
        if not same:
            raise UserError(
                f"The bridge in {directory} was trained for the {kind} {name}, not for "
                f"{found.name}; use that model, or train a bridge for this one."
            )
    if (bridge.pooling, bridge.normalize) != (config.encoder.pooling, config.encoder.normalize):
        raise UserError(
            f"The bridge in {directory} needs encoder.pooling={bridge.pooling} and "
            f"encoder.normalize={str(bridge.normalize).lower()}; change these settings."
        )
    return {
        "encoder": {"name": encoder.name, "sha256": encoder.sha256},
        "llm": {"name": llm.name, "sha256": llm.sha256},
        "bridge": {"name": config.bridge.path, "sha256": _sha256_of_bridge(directory)},
    }


def _sha256_of_bridge(directory: Path) -> str:
    # LoRA's config too: the same weights with another alpha make a different LLM.
    files = (directory / name for name in (ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, WEIGHTS_FILE))
    return sha256_of([file for file in files if file.exists()])
