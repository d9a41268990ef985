"""Point to candidate texts: the bridge, then vLLM decoding from ``prompt_embeds``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smotext_ray.bridge.projector import Bridge
from smotext_ray.errors import UserError
from smotext_ray.models import merged_llm

MAX_SEQUENCES = 256  # in flight in one engine; more gave no more tokens per second on CPU
GREEDY_BELOW = 1e-5  # a lower temperature is 0 to vLLM


class EngineDead(Exception):
    """The vLLM engine is gone; only a new process helps."""


@dataclass(frozen=True)
class Candidates:
    """What one point was decoded to.

    Attributes
    ----------
    texts : list of str
        Empty where there is an error.
    finish_reasons : list of str
        ``"stop"`` or ``"length"`` (cut off), one a text.
    num_tokens : list of int
        One a text.
    error : str
        Why there is no text; empty where there is.
    """

    texts: list[str]
    finish_reasons: list[str]
    num_tokens: list[int]
    error: str = ""


class Decoder:
    """A vLLM engine that reads soft prompts, loaded once a process.

    Parameters
    ----------
    model : str
        Directory or hub name of a causal LLM.
    bridge : Bridge
    lora : Path, optional
        Directory of the bridge, if it has LoRA layers for the LLM.
    merge_lora : bool, optional
        Add those layers to the LLM's weights first, in a checkpoint in the cache directory,
        or let vLLM compute them beside the LLM. Default: merge on CPU, where vLLM's LoRA
        decodes at a third of the speed (benchmarks/lora_serving.py).
    candidates : int, default=1
        Texts a point; one at temperature 0.
    temperature, top_p, max_tokens
        As in vLLM. Penalties on repetition are not offered: with embeddings for a
        prompt they can end the engine (vllm-project/vllm#57719).
    dtype : str, default="bfloat16"
    tensor_parallel_size : int, default=1
    gpu_memory_utilization : float, default=0.85
        Without meaning on CPU.

    Raises
    ------
    UserError
        If the bridge was made for an LLM of another width.
    """

    def __init__(
        self,
        model: str,
        bridge: Bridge,
        *,
        lora: Path | None = None,
        merge_lora: bool | None = None,
        candidates: int = 1,
        temperature: float = 0.7,
        top_p: float = 0.95,
        max_tokens: int = 96,
        dtype: str = "bfloat16",
        tensor_parallel_size: int = 1,
        gpu_memory_utilization: float = 0.85,
    ) -> None:
        on_gpu = torch.cuda.is_available()
        _set_engine_environment(on_gpu)
        from transformers import AutoConfig
        from vllm import LLM

        self._sampling: dict[str, Any] = {"top_p": top_p, "max_tokens": max_tokens}
        self.set_sampling(candidates, temperature)
        config = AutoConfig.from_pretrained(model)
        if config.hidden_size != bridge.config.llm_hidden_size:
            raise UserError(
                f"The bridge makes vectors of {bridge.config.llm_hidden_size} numbers for "
                f"{bridge.config.llm}, but {model} reads {config.hidden_size}; "
                "use the LLM that the bridge was trained for, or train a bridge for this one."
            )
        if (lora is not None) != (bridge.config.lora_rank > 0):
            raise ValueError("lora must be given for a bridge that has LoRA layers, and only then")
        beside: dict[str, Any] = {}
        self._lora: Any = None
        if lora and (merge_lora if merge_lora is not None else not on_gpu):
            model = merged_llm(model, lora)
        elif lora:
            from vllm.lora.request import LoRARequest

            self._lora = LoRARequest("bridge", 1, str(lora))
            beside = {"enable_lora": True, "max_loras": 1, "max_lora_rank": _vllm_rank(bridge)}
        self._bridge = bridge
        self._dtype = getattr(torch, dtype)
        self._engine: Any = LLM(
            model,
            dtype=dtype,
            enable_prompt_embeds=True,
            enable_prefix_caching=False,  # wrong hits with embeddings: vllm-project/vllm#56655
            enforce_eager=not on_gpu,
            max_model_len=bridge.prompt_length + max_tokens,
            max_num_seqs=MAX_SEQUENCES,
            tensor_parallel_size=tensor_parallel_size,
            gpu_memory_utilization=gpu_memory_utilization,
            disable_log_stats=True,
            **beside,
        )

    def set_sampling(self, candidates: int, temperature: float) -> None:
        """Decode from here on so many texts a point, at such a temperature (0: greedy)."""
        # vLLM refuses n > 1 at temperature 0, where all candidates would be equal.
        self._sampling["n"] = candidates if temperature >= GREEDY_BELOW else 1
        self._sampling["temperature"] = temperature

    def decode(self, points: np.ndarray, seeds: Sequence[int]) -> list[Candidates]:
        """Decode points; an error stays with its point.

        Parameters
        ----------
        points : ndarray of shape (n, d), float32
        seeds : sequence of int, length n
            Seed of each point's sampling. Equal seeds give equal text only on equal
            hardware and in an equal batch (vllm-project/vllm#17524).

        Returns
        -------
        list of Candidates, length n

        Raises
        ------
        EngineDead
            If the engine has ended; the process should too.
        """
        results: list[Candidates | None] = [_why_unfit(p, self._bridge) for p in points]
        fit = [i for i, result in enumerate(results) if result is None]
        if fit:
            prompts = self._prompts(points[fit])
            decoded = self._generate(prompts, [seeds[i] for i in fit])
            for i, candidates in zip(fit, decoded, strict=True):
                results[i] = candidates
        return [result for result in results if result is not None]

    @torch.inference_mode()
    def _prompts(self, points: np.ndarray) -> list[torch.Tensor]:
        # Ray hands out read-only arrays, which torch does not take: a copy.
        copied = torch.from_numpy(np.array(points, dtype=np.float32))
        return list(self._bridge.prompt_embeds(copied).to(self._dtype))

    def _generate(self, prompts: list[torch.Tensor], seeds: list[int]) -> list[Candidates]:
        try:
            return self._generate_batch(prompts, seeds)
        except EngineDead:
            raise
        except Exception as error:
            if len(prompts) == 1:
                return [Candidates([], [], [], f"{type(error).__name__}: {error}")]
            # One prompt spoilt the batch: find it, keep the others.
            return [self._generate([p], [s])[0] for p, s in zip(prompts, seeds, strict=True)]

    def _generate_batch(self, prompts: list[torch.Tensor], seeds: list[int]) -> list[Candidates]:
        from vllm import SamplingParams
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            outputs = self._engine.generate(
                [{"prompt_embeds": prompt} for prompt in prompts],
                [SamplingParams(seed=int(seed), **self._sampling) for seed in seeds],
                use_tqdm=False,
                lora_request=self._lora,
            )
        except EngineDeadError as error:
            raise EngineDead(str(error)) from error
        except Exception as error:
            # A refused request leaves none behind. A step that fails leaves them all, and
            # an engine in this process would give their texts as those of the next batch.
            if self._engine.llm_engine.has_unfinished_requests():
                raise EngineDead(f"{type(error).__name__}: {error}") from error
            raise
        return [
            Candidates(
                texts=[o.text.strip() for o in output.outputs],
                finish_reasons=[str(o.finish_reason) for o in output.outputs],
                num_tokens=[len(o.token_ids) for o in output.outputs],
            )
            for output in outputs
        ]


def _vllm_rank(bridge: Bridge) -> int:
    """The least rank that vLLM has room for and that holds the bridge's."""
    rank = 8
    while rank < bridge.config.lora_rank:
        rank *= 2
    return rank


def _why_unfit(point: np.ndarray, bridge: Bridge) -> Candidates | None:
    # vLLM checks neither width nor values: a wrong width reads out of bounds there.
    if point.shape != (bridge.config.encoder_dim,):
        return Candidates([], [], [], f"the point has shape {point.shape}")
    if not np.isfinite(point).all():
        return Candidates([], [], [], "the point holds NaN or infinity")
    return None


def _set_engine_environment(on_gpu: bool) -> None:
    """Settings that vLLM reads from the environment when it is imported."""
    defaults = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    if not on_gpu:
        defaults |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process is one actor
            "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
            # Bound threads of two engines would share a core; the system places them better.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
