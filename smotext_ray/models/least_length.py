"""A vLLM logits processor that keeps an LLM from ending a text too early.

vLLM's own ``min_tokens`` forbids the end however probable it is, and then samples from what is
left: see `smotext_ray.models.early_end.forbid_end`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from smotext_ray.models.early_end import ARGUMENT, forbid_end


class Begun(NamedTuple):
    """A text with the least number of tokens, the tokens that may end it, and those so far."""

    least: int
    ends: list[int]
    tokens: list[int]


class LeastLength(LogitsProcessor):
    """A vLLM logits processor: no text ends early, unless the LLM is sure of the end.

    Each request names its length in ``SamplingParams.extra_args``; without one it is left alone.
    """

    def __init__(self, *_: Any) -> None:
        self._begun: dict[int, Begun] = {}

    def is_argmax_invariant(self) -> bool:
        """False: the most probable token may be forbidden."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow vLLM's batch; the lists of tokens are its own and grow by themselves."""
        process_dict_updates(self._begun, batch_update, _begin)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Forbid ends in logits of shape (requests, vocabulary)."""
        rows = [row for row, text in self._begun.items() if len(text.tokens) < text.least]
        if rows:
            forbid_end(logits, rows, self._begun[rows[0]].ends)
        return logits


def _begin(params: SamplingParams, _: list[int] | None, tokens: list[int]) -> Begun | None:
    least, ends = (params.extra_args or {}).get(ARGUMENT, (0, []))
    return Begun(least, ends, tokens) if least else None
