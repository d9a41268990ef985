"""A vLLM logits processor that keeps an LLM from ending a text too early.

vLLM's own ``min_tokens`` forbids the end however probable it is, and then samples from the
remaining tokens: see `smotext_ray.models.early_end.forbid_end`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from vllm import SamplingParams

from smotext_ray.models.early_end import ARGUMENT, forbid_end
from smotext_ray.models.text_processor import TextProcessor


class Begun(NamedTuple):
    """A text in progress: its minimum number of tokens, possible end tokens, and tokens so far."""

    least: int
    ends: list[int]
    tokens: list[int]


class LeastLength(TextProcessor):
    """A vLLM logits processor: no text ends early, unless the LLM is sure of the end.

    Each request gives its length in ``SamplingParams.extra_args``; without one it is unaffected.
    """

    @staticmethod
    def begin(params: SamplingParams, prompt: list[int] | None, tokens: list[int]) -> Begun | None:
        """The request's length, and the tokens at which vLLM ends its text."""
        least = (params.extra_args or {}).get(ARGUMENT, 0)
        return Begun(least, sorted(params.all_stop_token_ids), tokens) if least else None

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Forbid ends in logits of shape (requests, vocabulary)."""
        rows = [row for row, text in self._texts.items() if len(text.tokens) < text.least]
        if rows:
            forbid_end(logits, rows, self._texts[rows[0]].ends)  # an engine has the same for all
        return logits
