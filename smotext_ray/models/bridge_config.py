"""A bridge's config.json: its models and sizes. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from smotext_ray.errors import UserError
from smotext_ray.models.style import SIZE as STYLE_SIZE

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "bridge.safetensors"
ADAPTER_CONFIG_FILE = "adapter_config.json"  # peft's file names, which vLLM expects
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
SOFT_PLACEHOLDER = "<xRAG>"


@dataclass(frozen=True)
class BridgeConfig:
    """A bridge's models and sizes; stored as config.json next to its weights.

    Attributes
    ----------
    encoder : str
        Name of the encoder.
    encoder_sha256 : str
        Digest of the encoder's weights; empty if they were not available locally.
    encoder_dim : int
        Embedding dimension d.
    pooling, normalize, max_length
        Encoder settings that the vectors depend on.
    llm, llm_sha256, llm_hidden_size
        The same for the LLM that reads the soft tokens.
    soft_tokens : int
        K.
    projector_hidden_size : int
        Width of the projector's hidden layer.
    input_scale : float
        Factor applied to embeddings; sqrt(d) gives a unit vector unit variance per component.
    template : str
        The prompt's text, with ``<xRAG>`` in place of the K soft tokens.
    has_style : bool
        Whether the weights include a table of styles: see `smotext_ray.models.style`.
    lora_rank : int
        Rank of the LLM's LoRA layers, stored next to the bridge's weights; 0: none, the LLM is
        unchanged.
    """

    encoder: str
    encoder_sha256: str
    encoder_dim: int
    pooling: str
    normalize: bool
    max_length: int
    llm: str
    llm_sha256: str
    llm_hidden_size: int
    soft_tokens: int = 1
    projector_hidden_size: int = 1024
    input_scale: float = 1.0
    template: str = SOFT_PLACEHOLDER
    lora_rank: int = 0
    has_style: bool = False


def read_bridge_config(directory: str | Path) -> BridgeConfig:
    """Read the config of the bridge in ``directory``."""
    file = Path(directory) / CONFIG_FILE
    if not file.exists():
        raise UserError(f"There is no bridge in {directory} ({CONFIG_FILE} is missing).")
    known = {field.name for field in fields(BridgeConfig)}
    try:
        return BridgeConfig(**{k: v for k, v in json.loads(file.read_text()).items() if k in known})
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} does not describe a bridge: {error}.") from error


def sizes_of(directory: str | Path) -> dict[str, int | str]:
    """Settings that a training that starts from a bridge inherits by default."""
    config = read_bridge_config(directory)
    names = ("soft_tokens", "projector_hidden_size", "template", "lora_rank")
    return {name: getattr(config, name) for name in names}


def check_weights(directory: str | Path, config: BridgeConfig) -> None:
    """Reject weights that are missing, damaged or have wrong shapes, without loading them.

    Raises
    ------
    UserError
    """
    from safetensors import SafetensorError, safe_open

    file = Path(directory) / WEIGHTS_FILE
    hidden, width = config.projector_hidden_size, config.soft_tokens * config.llm_hidden_size
    wanted = {
        "projector.0.weight": [hidden, config.encoder_dim],
        "projector.0.bias": [hidden],
        "projector.2.weight": [width, hidden],
        "projector.2.bias": [width],
    } | ({"style": [STYLE_SIZE, width]} if config.has_style else {})
    try:
        with safe_open(file, framework="numpy") as weights:
            found = {name: list(weights.get_slice(name).get_shape()) for name in wanted}
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"The bridge weights {file} cannot be read ({error}); train or copy the bridge again."
        ) from error
    for name, shape in wanted.items():
        if found[name] != shape:
            raise UserError(
                f"The bridge weights {file} do not match its {CONFIG_FILE}: {name} has shape "
                f"{found[name]}, not {shape}; train or copy the bridge again."
            )
    if config.lora_rank:
        _check_adapter(Path(directory), config.lora_rank)


def _check_adapter(directory: Path, rank: int) -> None:
    """Reject LoRA layers that are missing or have the wrong rank."""
    for name in (ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE):
        if not (directory / name).exists():
            raise UserError(
                f"The bridge in {directory} lacks its LoRA layers ({name} is missing); "
                "train or copy the bridge again."
            )
    try:
        found = json.loads((directory / ADAPTER_CONFIG_FILE).read_text())["r"]
    except (KeyError, TypeError, ValueError):
        found = "unknown"
    if found != rank:
        raise UserError(
            f"The LoRA layers in {directory} have rank {found}, but its {CONFIG_FILE} says "
            f"{rank}; train or copy the bridge again."
        )
