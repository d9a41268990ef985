"""A vLLM logits processor that follows the texts of a batch while they are generated."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from vllm import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates


class TextProcessor(LogitsProcessor):
    """Keeps a state for each text, by its row in the batch, to decide which tokens to forbid."""

    def __init__(self, *_: Any) -> None:
        self._texts: dict[int, Any] = {}

    @staticmethod
    @abstractmethod
    def begin(params: SamplingParams, prompt: list[int] | None, tokens: list[int]) -> Any:
        """The state of a text, whose ``tokens`` will grow; None if it is unaffected."""

    def is_argmax_invariant(self) -> bool:
        """False: the most probable token may be forbidden."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow vLLM's batch; vLLM itself appends to the lists of tokens."""
        process_dict_updates(self._texts, batch_update, self.begin)
