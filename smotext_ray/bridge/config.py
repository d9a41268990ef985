"""What a bridge joins, and how: the config.json beside its weights. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from smotext_ray.errors import UserError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "bridge.safetensors"
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
