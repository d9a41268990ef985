"""A vLLM logits processor that keeps an LLM from repeating sequences of tokens.

vLLM has repetition penalties, but they can crash its engine with prompt embeddings
(vllm-project/vllm#57719), and they penalize words that a text may well repeat.
"""

from __future__ import annotations

import torch
from vllm import SamplingParams

from smotext_ray.models.repetition import ARGUMENT, Seen
from smotext_ray.models.text_processor import TextProcessor


class NoRepeatedNgram(TextProcessor):
    """A vLLM logits processor: no n-gram of a text's tokens occurs twice in it [1]_.

    Each request gives its n in ``SamplingParams.extra_args``; without one it is unaffected.

    References
    ----------
    .. [1] Paulus, Xiong, Socher: A deep reinforced model for abstractive summarization. ICLR 2018.
    """

    @staticmethod
    def begin(params: SamplingParams, prompt: list[int] | None, tokens: list[int]) -> Seen | None:
        """The request's n-grams so far."""
        n = (params.extra_args or {}).get(ARGUMENT, 0)
        return Seen(n, tokens) if n else None

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Forbid tokens in logits of shape (requests, vocabulary)."""
        places = [
            (row, token) for row, seen in self._texts.items() for token in seen.would_repeat()
        ]
        if places:
            rows, tokens = torch.tensor(places, device=logits.device).T
            logits[rows, tokens] = -torch.inf
        return logits
