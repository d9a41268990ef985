"""A bridge that passes on what it is given, for tests of decoders."""

from __future__ import annotations

from tiny_models import HIDDEN

from smotext_ray.models.bridge import Bridge
from smotext_ray.models.bridge_config import BridgeConfig

DIM = 4


def bridge_of(hidden: int = HIDDEN, lora_rank: int = 0, has_style: bool = False) -> Bridge:
    """Passes the point's first number on as the first number of the prompt."""
    bridge = Bridge(
        BridgeConfig(
            *("e", "", DIM, "mean", True, 128, "an-llm", "", hidden),
            soft_tokens=2,
            lora_rank=lora_rank,
            has_style=has_style,
        )
    )
    bridge.forward = lambda points, styles: points[:, :1, None].expand(-1, 2, hidden)
    return bridge
