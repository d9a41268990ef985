"""A vLLM logits processor that knows the texts of a batch while they are written."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from vllm import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates


class TextProcessor(LogitsProcessor):
    """Keeps something of each text, by its row of the batch, and forbids tokens by it."""

    def __init__(self, *_: Any) -> None:
        self._texts: dict[int, Any] = {}

    @staticmethod
    @abstractmethod
    def begin(params: SamplingParams, prompt: list[int] | None, tokens: list[int]) -> Any:
        """What is kept of a text whose ``tokens`` will grow; None if it is left alone."""

    def is_argmax_invariant(self) -> bool:
        """False: the most probable token may be forbidden."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow vLLM's batch; the lists of tokens are its own and grow by themselves."""
        process_dict_updates(self._texts, batch_update, self.begin)
