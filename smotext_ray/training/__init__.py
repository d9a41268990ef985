"""The xRAG bridge: projector, prompt and training."""

from __future__ import annotations
