"""A vLLM logits processor that keeps an LLM from writing the same few tokens twice.

vLLM has repetition penalties, but they can crash its engine with prompt embeddings
(vllm-project/vllm#57719), and they punish words that a text may well repeat.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from smotext_ray.models.repetition import ARGUMENT, Seen


class NoRepeatedNgram(LogitsProcessor):
    """A vLLM logits processor: no n-gram of a text's tokens occurs twice in it [1]_.

    Each request names its n in ``SamplingParams.extra_args``; without one it is left alone.

    References
    ----------
    .. [1] Paulus, Xiong, Socher: A deep reinforced model for abstractive summarization. ICLR 2018.
    """

    def __init__(self, *_: Any) -> None:
        self._seen: dict[int, Seen] = {}

    def is_argmax_invariant(self) -> bool:
        """False: the most probable token may be forbidden."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow vLLM's batch; the lists of tokens are its own and grow by themselves."""
        process_dict_updates(self._seen, batch_update, _begin)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Forbid tokens in logits of shape (requests, vocabulary)."""
        places = [(row, token) for row, seen in self._seen.items() for token in seen.would_repeat()]
        if places:
            rows, tokens = torch.tensor(places, device=logits.device).T
            logits[rows, tokens] = -torch.inf
        return logits


def _begin(params: SamplingParams, _: list[int] | None, tokens: list[int]) -> Seen | None:
    n = (params.extra_args or {}).get(ARGUMENT, 0)
    return Seen(n, tokens) if n else None
