"""What a bridge joins, and how: the config.json beside its weights. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from smotext_ray.errors import UserError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "bridge.safetensors"
ADAPTER_CONFIG_FILE = "adapter_config.json"  # peft's names: vLLM looks for them
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
SOFT_PLACEHOLDER = "<xRAG>"


@dataclass(frozen=True)
class BridgeConfig:
    """What a bridge joins, and how; stored as config.json beside its weights.

    Attributes
    ----------
    encoder : str
        Name of the encoder whose embeddings it reads.
    encoder_sha256 : str
        Of the encoder's weights; empty where they were not at hand.
    encoder_dim : int
        d, the length of an embedding.
    pooling, normalize, max_length
        How the encoder was used; another use gives other vectors.
    llm, llm_sha256, llm_hidden_size
        The LLM that reads the soft tokens, likewise.
    soft_tokens : int
        K.
    projector_hidden_size : int
        Width between the two linear layers.
    input_scale : float
        Embeddings are multiplied by it first; sqrt(d) brings a unit vector to unit
        variance per component.
    template : str
        The prompt's text, with ``<xRAG>`` where the K soft tokens stand.
    lora_rank : int
        Of the LLM's LoRA layers that lie beside the bridge's weights; 0: there are none,
        and the LLM is as it was.
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


def read_bridge_config(directory: str | Path) -> BridgeConfig:
    """The config of the bridge in ``directory``."""
    file = Path(directory) / CONFIG_FILE
    if not file.exists():
        raise UserError(f"There is no bridge in {directory} ({CONFIG_FILE} is missing).")
    known = {field.name for field in fields(BridgeConfig)}
    try:
        return BridgeConfig(**{k: v for k, v in json.loads(file.read_text()).items() if k in known})
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} does not describe a bridge: {error}.") from error


def sizes_of(directory: str | Path) -> dict[str, int | str]:
    """What a training that goes on from a bridge takes over, unless it is told otherwise."""
    config = read_bridge_config(directory)
    names = ("soft_tokens", "projector_hidden_size", "template", "lora_rank")
    return {name: getattr(config, name) for name in names}


def check_weights(directory: str | Path, config: BridgeConfig) -> None:
    """Refuse weights that are missing, damaged or of other shapes, without loading them.

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
    }
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
                f"The bridge weights {file} do not fit its {CONFIG_FILE}: {name} has shape "
                f"{found[name]}, not {shape}; train or copy the bridge again."
            )
    if config.lora_rank:
        _check_adapter(Path(directory), config.lora_rank)


def _check_adapter(directory: Path, rank: int) -> None:
    """Refuse LoRA layers that are missing or of another rank."""
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
