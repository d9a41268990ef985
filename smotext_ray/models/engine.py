"""vLLM engine: prompts to candidate texts, with errors reported per prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smotext_ray.models import early_end, repetition
from smotext_ray.models.engine_device import (
    FIRST_SEQUENCES,
    decoding_dtype,
    device_arguments,
    find_gpu,
    has_own_process,
    process_setting,
    set_environment,
)
from smotext_ray.models.engine_loop import EngineDead, EngineLoop

__all__ = ["Candidates", "Engine", "EngineDead"]

GREEDY_BELOW = 1e-5  # vLLM treats lower temperatures as 0


@dataclass(frozen=True)
class Candidates:
    """The result for one prompt.

    Attributes
    ----------
    texts : list of str
        Empty if there is an error.
    finish_reasons : list of str
        ``"stop"`` or ``"length"`` (truncated), one per text.
    num_tokens : list of int
        One per text.
    error : str
        Why there is no text; empty on success.
    """

    texts: list[str]
    finish_reasons: list[str]
    num_tokens: list[int]
    error: str = ""


class Engine:
    """A vLLM engine, loaded once per process.

    Parameters
    ----------
    model : str
        Directory or hub name of a causal LLM.
    longest_prompt : int
        Number of tokens of the longest prompt to expect.
    lora : Path, optional
        Directory of LoRA layers that vLLM applies on top of the LLM.
    lora_rank : int, default=0
        Rank of those layers.
    num_candidates : int, default=1
        Texts per prompt; one at temperature 0.
    temperature, top_p, max_tokens
        As in vLLM. Repetition penalties are not offered: with prompt embeddings they can crash the
        engine (vllm-project/vllm#57719).
    no_repeat_ngram : int, default=0
        No sequence of this many tokens occurs twice in a text; 0: no limit.
    has_least_length : bool, default=False
        Whether `generate` applies ``least_tokens``.
    dtype : str, default="auto"
        Dtype of weights and activations. "auto": bfloat16 on a GPU or CPU that supports it
        natively, float16 on other GPUs (compute capability below 8.0), and float32 on other CPUs,
        where bfloat16 takes five times as long (benchmarks/decode.py).
    tensor_parallel_size : int, default=1
    gpu_memory_utilization : float, default=0.85
        Share of a GPU's memory for all engines on it. Ignored on CPU.
    own_process : bool, optional
        Whether the engine runs in a separate process. Default: yes on a GPU, where scheduling then
        overlaps with computing, no on a CPU. With False a script needs no ``if __name__ ==
        "__main__":``, and a killed process leaves no engine behind on the GPU; tensor-parallel
        workers are still separate processes.
    expected_texts : int, optional
        Total number of prompts to expect. If there are few, a GPU starts sooner but decodes more
        slowly, without compiling the LLM and capturing CUDA graphs: see
        `smotext_ray.models.engine_device.EAGER_BELOW`. Default: unknown, assumed to be many.
    engines_per_gpu : int, default=1
        Engines that share each GPU; they may start at the same time.

    Raises
    ------
    UserError
        If the engines do not fit on a GPU.
    """

    def __init__(
        self,
        model: str,
        longest_prompt: int,
        *,
        lora: Path | None = None,
        lora_rank: int = 0,
        num_candidates: int = 1,
        temperature: float = 0.7,
        top_p: float = 0.95,
        max_tokens: int = 96,
        no_repeat_ngram: int = 0,
        has_least_length: bool = False,
        dtype: str = "auto",
        tensor_parallel_size: int = 1,
        gpu_memory_utilization: float = 0.85,
        own_process: bool | None = None,
        expected_texts: int | None = None,
        engines_per_gpu: int = 1,
    ) -> None:
        set_environment()
        gpu = find_gpu()
        own = has_own_process(gpu, own_process)
        self.dtype = decoding_dtype(gpu) if dtype == "auto" else dtype
        self._sampling: dict[str, Any] = {"top_p": top_p, "max_tokens": max_tokens}
        self.set_sampling(num_candidates, temperature)
        self._extra: dict[str, Any] = {}
        arguments: dict[str, Any] = {
            "dtype": self.dtype,
            "enable_prompt_embeds": True,
            # False cache hits with embeddings: vllm-project/vllm#56655.
            "enable_prefix_caching": False,
            "max_model_len": longest_prompt + max_tokens,
            "tensor_parallel_size": tensor_parallel_size,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
        }
        arguments |= device_arguments(
            gpu,
            model,
            self.dtype,
            max_model_len=longest_prompt + max_tokens,
            tensor_parallel_size=tensor_parallel_size,
            gpu_memory_utilization=gpu_memory_utilization,
            engines_per_gpu=engines_per_gpu,
            expected_texts=expected_texts,
        )
        processors: list[Any] = []
        if no_repeat_ngram:
            # By name, because another process may have to import it.
            processors.append("smotext_ray.models.no_repeat:NoRepeatedNgram")
            self._extra[repetition.ARGUMENT] = no_repeat_ngram
        if has_least_length:
            processors.append("smotext_ray.models.least_length:LeastLength")
        # A local class, which another process could not import.
        if top_p < 1 and gpu is None and not own and tensor_parallel_size == 1:
            self._sampling["top_p"] = 1.0
            processors.append(_nucleus_processor(top_p))
        if processors:
            arguments["logits_processors"] = processors
        lora_request: Any = None
        if lora:
            from vllm.lora.request import LoRARequest

            lora_request = LoRARequest("bridge", 1, str(lora))
            rank = _vllm_rank(lora_rank)
            arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
        self.llm: Any = _start(model, arguments, own)
        # A text ends where a turn of a chat would begin.
        self._sampling["stop_token_ids"] = _special_tokens(self.llm)
        at_first = None if gpu else max(1, FIRST_SEQUENCES // self._sampling["n"])
        self._loop = EngineLoop(self.llm, lora_request, at_first)

    def set_sampling(self, num_candidates: int, temperature: float) -> None:
        """Set the number of texts per prompt and the temperature (0: greedy) from now on."""
        # vLLM rejects n > 1 at temperature 0, where all candidates would be equal.
        self._sampling["n"] = num_candidates if temperature >= GREEDY_BELOW else 1
        self._sampling["temperature"] = temperature

    @property
    def finished(self) -> int:
        """Number of prompts answered so far."""
        return self._loop.finished

    def generate(
        self,
        prompts: list[dict[str, Any]],
        seeds: Sequence[int],
        least_tokens: Sequence[int] | None = None,
    ) -> list[Candidates]:
        """Answer prompts; concurrent calls from several threads share the engine's batches.

        Parameters
        ----------
        prompts : list of dict, length n
            vLLM prompts with ``prompt_embeds`` or ``prompt_token_ids``.
        seeds : sequence of int, length n
            Sampling seed of each prompt. Equal seeds give equal texts only on the same hardware and
            batch composition (vllm-project/vllm#17524).
        least_tokens : sequence of int, length n, optional
            No text of a prompt ends before this many tokens, at most ``max_tokens``, unless the
            LLM is sure of the end: see `smotext_ray.models.early_end`.

        Returns
        -------
        list of Candidates, length n

        Raises
        ------
        EngineDead
            If the engine has died; the process should exit too.
        """
        from vllm import SamplingParams

        least = [0] * len(prompts) if least_tokens is None else least_tokens
        extra = [
            self._extra | ({early_end.ARGUMENT: int(tokens)} if tokens else {}) for tokens in least
        ]
        sampling = [
            SamplingParams(seed=int(seed), extra_args=own, **self._sampling)
            for seed, own in zip(seeds, extra, strict=True)
        ]
        return [_candidates(answer) for answer in self._loop.answer(prompts, sampling)]


def _start(model: str, arguments: dict[str, Any], own_process: bool) -> Any:
    from vllm import LLM

    with process_setting(own_process):
        return LLM(model, **arguments)


def _special_tokens(llm: Any) -> list[int]:
    """Ids of the special tokens, which are not part of any text; sorted."""
    added = getattr(llm.get_tokenizer(), "added_tokens_decoder", {})  # not that of Mistral's files
    # A tokenizer may have more tokens than the LLM, which vLLM refuses.
    size = llm.model_config.get_vocab_size()
    return sorted(i for i, token in added.items() if token.special and i < size)


def _candidates(answer: Any) -> Candidates:
    if isinstance(answer, Exception):
        return Candidates([], [], [], f"{type(answer).__name__}: {answer}")
    if any(str(o.finish_reason) == "error" for o in answer.outputs):
        # In-process engines raise an exception instead.
        return Candidates([], [], [], "vLLM rejected the prompt; see the engine's log")
    return Candidates(
        texts=[o.text.strip() for o in answer.outputs],
        finish_reasons=[str(o.finish_reason) for o in answer.outputs],
        num_tokens=[len(o.token_ids) for o in answer.outputs],
    )


def _nucleus_processor(p: float) -> type:
    """A vLLM logits processor that replaces its top-p."""
    from vllm.v1.sample.logits_processor import LogitsProcessor

    from smotext_ray.models.top_p import keep_nucleus

    class Nucleus(LogitsProcessor):
        def __init__(self, *_: Any) -> None:
            """vLLM's arguments are not needed."""

        def is_argmax_invariant(self) -> bool:
            return True  # so that it is applied after the temperature

        def update_state(self, batch_update: Any) -> None:
            """Nothing to update: all requests have the same ``p``."""

        def apply(self, logits: Any) -> Any:
            return keep_nucleus(logits, p)

    return Nucleus


def _vllm_rank(wanted: int) -> int:
    """The smallest rank supported by vLLM that is at least the one given."""
    rank = 8
    while rank < wanted:
        rank *= 2
    return rank
