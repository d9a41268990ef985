"""What vLLM is told about the machine: on a GPU it is another program than on a CPU."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smotext_ray.errors import UserError
from smotext_ray.models.files import weight_files
from smotext_ray.utils.cpu import cpu_dtype

GIB = 2**30
SEQUENCES = 256  # in flight in one engine; more gave no more tokens per second on CPU
# As vLLM's own default for such GPUs. A small LLM's step takes the same time for 256 texts and
# for 1024, because it waits for the CPU that launches it.
SEQUENCES_LARGE_GPU, LARGE_GPU = 1024, 70 * GIB
# Compiling the LLM and capturing its CUDA graphs takes one or two minutes. Without them a step
# of a small LLM takes about 5 ms longer, and 50,000 prompts of four texts take 5,000 steps at
# 1024 texts in flight: half a minute. Estimated from vLLM's source, not measured.
EAGER_BELOW = 50_000  # prompts
KV_BLOCK = 16  # tokens in a block of vLLM's cache on GPUs
# What an engine holds besides weights and cache: the CUDA context, activations of the largest
# step, logits and CUDA graphs. An estimate, on the safe side for LLMs up to 7B.
WORKSPACE = 4 * GIB
OWN_PROCESS = "VLLM_ENABLE_V1_MULTIPROCESSING"


@dataclass(frozen=True)
class Gpu:
    """The first GPU that this process sees.

    Attributes
    ----------
    capability : tuple of int
        CUDA compute capability: major, minor.
    memory : int
        Bytes in all.
    """

    capability: tuple[int, int]
    memory: int


def find_gpu() -> Gpu | None:
    """The GPU that vLLM will use; None where it computes on the CPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    # vLLM asks the driver's management library. To ask torch would initialize CUDA in this
    # process, which needs none of it where EngineCore has a process of its own.
    from vllm.platforms import current_platform

    major, minor = current_platform.get_device_capability()
    return Gpu((major, minor), current_platform.get_device_total_memory())


def decoding_dtype(gpu: Gpu | None) -> str:
    """What this machine decodes fastest in; vLLM refuses bfloat16 before capability 8.0."""
    if gpu is None:
        return cpu_dtype()
    return "bfloat16" if gpu.capability >= (8, 0) else "float16"


def set_environment() -> None:
    """Settings that vLLM reads from the environment when it is imported or an engine starts."""
    defaults = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        # vLLM would compile FlashInfer's sampler when an engine starts, which fails on machines
        # without a CUDA toolkit (vllm-project/vllm#49497), and then never use it for requests
        # that have a seed, as all of ours do.
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        # Bound threads of two engines would share a core; the system places them better.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # Kernels that are compiled at run time need programs such as ninja, which are installed
    # next to this Python but are not found unless its environment was activated.
    here, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if here not in path.split(os.pathsep):
        os.environ["PATH"] = f"{here}{os.pathsep}{path}" if path else here


def has_own_process(gpu: Gpu | None, asked: bool | None) -> bool:
    """Whether the engine computes in a process of its own.

    Parameters
    ----------
    gpu : Gpu or None
    asked : bool or None
        None: as the environment says, else on a GPU, where scheduling then overlaps with
        computing, and not on a CPU.
    """
    if asked is not None:
        return asked
    return os.environ.get(OWN_PROCESS, "0" if gpu is None else "1") == "1"


@contextmanager
def process_setting(own: bool) -> Iterator[None]:
    """Tell vLLM for the start of one engine, and no other process that this one starts."""
    before = os.environ.get(OWN_PROCESS)
    os.environ[OWN_PROCESS] = "1" if own else "0"
    try:
        yield
    finally:
        del os.environ[OWN_PROCESS]
        if before is not None:
            os.environ[OWN_PROCESS] = before


def device_arguments(
    gpu: Gpu | None,
    model: str,
    dtype: str,
    *,
    max_model_len: int,
    tensor_parallel_size: int,
    gpu_memory_utilization: float,
    engines_per_gpu: int,
    expected_texts: int | None,
) -> dict[str, Any]:
    """The arguments of ``vllm.LLM`` that depend on the device.

    Parameters
    ----------
    gpu : Gpu or None
    model : str
    dtype : str
    max_model_len, tensor_parallel_size : int
        As in vLLM.
    gpu_memory_utilization : float
        Share of the GPU's memory for all engines on it.
    engines_per_gpu : int
    expected_texts : int or None

    Raises
    ------
    UserError
        If so many engines do not fit on the GPU.
    """
    if gpu is None:
        return {
            # A prompt that has a seed and is read in two steps ends the engine on CPU ("CPU
            # Generator does not use offset"); prompts over 16 tokens would be, in a full batch.
            "enable_chunked_prefill": False,
            "enforce_eager": True,
            "max_num_seqs": SEQUENCES,
            "gpu_memory_utilization": gpu_memory_utilization,
        }
    sequences = SEQUENCES_LARGE_GPU if gpu.memory >= LARGE_GPU else SEQUENCES
    eager = expected_texts is not None and expected_texts < EAGER_BELOW
    share = gpu_memory_utilization / engines_per_gpu
    arguments: dict[str, Any] = {
        "enable_chunked_prefill": True,
        "enforce_eager": eager,
        "max_num_seqs": sequences,
        # vLLM checks that this much is free when the engine starts, and no more than that if
        # the cache has a size.
        "gpu_memory_utilization": share,
    }
    if not eager and sequences > SEQUENCES:
        arguments["max_cudagraph_capture_size"] = sequences  # vLLM's default is 512
    cache = _cache_bytes(model, dtype, sequences, max_model_len, tensor_parallel_size)
    needed = _weight_bytes(model) // tensor_parallel_size + cache + WORKSPACE
    if needed <= share * gpu.memory:
        # Else vLLM would measure what is left, by the free memory of the whole device: what the
        # gate or another engine takes meanwhile would be missing from the cache, and what they
        # free would end the engine. More than this much cache is never used.
        arguments["kv_cache_memory_bytes"] = cache
    elif engines_per_gpu > 1:
        raise UserError(
            f"{engines_per_gpu} engines of {model} need {needed / GIB:.1f} GiB each, and "
            f"{share * gpu.memory / GIB:.1f} GiB of a GPU is each one's share; "
            "lower resources.decoders_per_gpu."
        )
    return arguments


def _cache_bytes(
    model: str, dtype: str, sequences: int, max_model_len: int, tensor_parallel_size: int
) -> int:
    """Size of a cache on each GPU that holds all sequences in flight at their longest."""
    import torch
    from transformers import AutoConfig

    llm = AutoConfig.from_pretrained(model).get_text_config()
    heads = getattr(llm, "num_key_value_heads", None) or llm.num_attention_heads
    width = getattr(llm, "head_dim", None) or llm.hidden_size // llm.num_attention_heads
    numbers = 2 * llm.num_hidden_layers * max(1, heads // tensor_parallel_size) * width
    # One block more for each, and one that vLLM keeps for itself.
    blocks = sequences * (math.ceil(max_model_len / KV_BLOCK) + 1) + 1
    itemsize: int = getattr(torch, dtype).itemsize
    return int(blocks * KV_BLOCK * numbers * itemsize)


def _weight_bytes(model: str) -> int:
    """Size of the weights' files, which an LLM in memory has at most."""
    return sum(file.stat().st_size for file in weight_files(Path(model)))
