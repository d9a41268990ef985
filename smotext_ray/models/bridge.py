"""The bridge: from one encoder embedding to K soft tokens of the LLM.

The projector is that of xRAG (Cheng et al., 2024, arXiv:2405.13792): two linear layers with a GELU
between them. xRAG has K = 1; K > 1 gives the LLM more information about the text.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    BridgeConfig,
    read_bridge_config,
)
from smotext_ray.models.files import local_directory
from smotext_ray.models.style import SIZE


class Bridge(nn.Module):
    """xRAG projector with K soft tokens and a learned output scale.

    Parameters
    ----------
    config : BridgeConfig
    output_scale : float, default=1.0
        Initial value of the learned scale.
    before, after : Tensor of shape (length, llm_hidden_size), optional
        The LLM's embeddings of the template's text before and after the soft tokens. They are saved
        with the bridge, so that decoding needs no embedding table.
    """

    before: torch.Tensor
    after: torch.Tensor

    def __init__(
        self,
        config: BridgeConfig,
        output_scale: float = 1.0,
        before: torch.Tensor | None = None,
        after: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.projector = nn.Sequential(
            nn.Linear(config.encoder_dim, config.projector_hidden_size),
            nn.GELU(),
            nn.Linear(config.projector_hidden_size, config.soft_tokens * config.llm_hidden_size),
        )
        self.output_scale = nn.Parameter(torch.tensor(float(output_scale)))
        width = config.soft_tokens * config.llm_hidden_size
        # Zeros, so that a bridge trained without styles is unchanged at first.
        self.style = nn.Parameter(torch.zeros(SIZE, width)) if config.has_style else None
        nothing = torch.zeros(0, config.llm_hidden_size)
        self.register_buffer("before", nothing if before is None else before.float())
        self.register_buffer("after", nothing if after is None else after.float())

    def forward(self, points: torch.Tensor, styles: torch.Tensor | None = None) -> torch.Tensor:
        """Map points to soft tokens.

        Parameters
        ----------
        points : Tensor of shape (n, encoder_dim), float32
        styles : Tensor of shape (n, SIZE), float32, optional
            What each text should look like; zeros where unknown, as by default. Ignored by a bridge
            without styles.

        Returns
        -------
        Tensor of shape (n, soft_tokens, llm_hidden_size), float32
        """
        projected = self.projector(points * self.config.input_scale)
        if self.style is not None and styles is not None:
            projected = projected + styles @ self.style
        projected = projected * self.output_scale
        return projected.view(len(points), self.config.soft_tokens, self.config.llm_hidden_size)

    def prompt_embeds(
        self, points: torch.Tensor, styles: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The whole prompt of each point: the template's text around the soft tokens.

        Parameters
        ----------
        points : Tensor of shape (n, encoder_dim), float32
        styles : Tensor of shape (n, SIZE), float32, optional

        Returns
        -------
        Tensor of shape (n, prompt_length, llm_hidden_size), float32
        """
        n = len(points)
        parts = [self.before.expand(n, -1, -1), self(points, styles), self.after.expand(n, -1, -1)]
        return torch.cat(parts, dim=1)

    @property
    def prompt_length(self) -> int:
        """Number of vectors in a prompt."""
        return len(self.before) + self.config.soft_tokens + len(self.after)

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``config.json`` and ``bridge.safetensors`` (bfloat16) to a directory."""
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        weights = {k: v.detach().to(torch.bfloat16) for k, v in self.state_dict().items()}
        save_file(weights, path / WEIGHTS_FILE)
        (path / CONFIG_FILE).write_text(json.dumps(asdict(self.config), indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, directory_or_hub_name: str | Path) -> Bridge:
        """Load a bridge from a directory or from the hub.

        Parameters
        ----------
        directory_or_hub_name : str or Path
            A directory, or a hub name ``user/name``. A Path is always a directory.

        Returns
        -------
        Bridge

        Raises
        ------
        UserError
            If there is no valid bridge.
        """
        path = local_directory(directory_or_hub_name)
        config = read_bridge_config(path)
        try:
            weights = {k: v.float() for k, v in load_file(path / WEIGHTS_FILE).items()}
            bridge = cls(config, before=weights["before"], after=weights["after"])
            bridge.load_state_dict(weights)
        except Exception as error:
            raise UserError(
                f"The bridge in {path} does not load ({type(error).__name__}: its "
                f"{WEIGHTS_FILE} is missing, damaged, or does not match "
                f"{CONFIG_FILE}); train or copy it again."
            ) from error
        return bridge.eval()
