"""The bridge: from one encoder embedding to K soft tokens of the LLM.

The projector is that of xRAG (Cheng et al., 2024, arXiv:2405.13792): two linear layers
with a GELU between them. xRAG has K = 1; K > 1 gives the LLM more room to be told what
the text says.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

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


class Bridge(nn.Module):
    """xRAG projector with K soft tokens and a learned output scale.

    Parameters
    ----------
    config : BridgeConfig
    output_scale : float, default=1.0
        What the learned scale starts from.
    """

    def __init__(self, config: BridgeConfig, output_scale: float = 1.0) -> None:
        super().__init__()
        self.config = config
        self.projector = nn.Sequential(
            nn.Linear(config.encoder_dim, config.projector_hidden_size),
            nn.GELU(),
            nn.Linear(config.projector_hidden_size, config.soft_tokens * config.llm_hidden_size),
        )
        self.output_scale = nn.Parameter(torch.tensor(float(output_scale)))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Soft tokens of points.

        Parameters
        ----------
        points : Tensor of shape (n, encoder_dim), float32

        Returns
        -------
        Tensor of shape (n, soft_tokens, llm_hidden_size), float32
        """
        projected = self.projector(points * self.config.input_scale) * self.output_scale
        return projected.view(len(points), self.config.soft_tokens, self.config.llm_hidden_size)

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``config.json`` and ``bridge.safetensors`` (bfloat16) to a directory."""
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        weights = {k: v.detach().to(torch.bfloat16) for k, v in self.state_dict().items()}
        save_file(weights, path / WEIGHTS_FILE)
        (path / CONFIG_FILE).write_text(json.dumps(asdict(self.config), indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> Bridge:
        """Load a bridge; raises UserError where the directory does not hold a sound one."""
        path = Path(directory)
        bridge = cls(read_bridge_config(path))
        try:
            bridge.load_state_dict({k: v.float() for k, v in load_file(path / WEIGHTS_FILE).items()})
        except Exception as error:
            raise UserError(
                f"The bridge in {path} does not load ({type(error).__name__}: its "
                f"{WEIGHTS_FILE} is missing, damaged, or not of the shape that "
                f"{CONFIG_FILE} names); train or copy it again."
            ) from error
        return bridge.eval()


def read_bridge_config(directory: str | Path) -> BridgeConfig:
    """The config of the bridge in ``directory``; needs no torch model to be built."""
    file = Path(directory) / CONFIG_FILE
    if not file.exists():
        raise UserError(f"There is no bridge in {directory} ({CONFIG_FILE} is missing).")
    known = {field.name for field in fields(BridgeConfig)}
    try:
        return BridgeConfig(**{k: v for k, v in json.loads(file.read_text()).items() if k in known})
    except (TypeError, ValueError) as error:
        raise UserError(f"{file} does not describe a bridge: {error}.") from error
