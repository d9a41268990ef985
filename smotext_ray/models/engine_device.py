"""Device-dependent settings of vLLM, which behaves differently on GPU and CPU."""

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
from smotext_ray.models.pretrained import load_pretrained
from smotext_ray.utils.cpu import cpu_dtype

GIB = 2**30
SEQUENCES = 256  # in flight per engine; more did not increase tokens per second on CPU
# In flight on a CPU until the first block is done, in half the time that it would take among four
# such blocks (benchmarks/first_texts.py), at three quarters of the tokens per second.
FIRST_SEQUENCES = 32
# vLLM's default for such GPUs. A small LLM's step takes the same time for 256 texts as for 1024,
# because it waits for the CPU to launch it.
SEQUENCES_LARGE_GPU, LARGE_GPU = 1024, 70 * GIB
# Compiling the LLM and capturing its CUDA graphs takes one or two minutes. Without them a step
# of a small LLM takes about 5 ms longer, and 50,000 prompts of four texts take 5,000 steps at
# 1024 texts in flight: half a minute. Estimated from vLLM's source, not measured.
EAGER_BELOW = 50_000  # prompts
KV_BLOCK = 16  # tokens in a block of vLLM's cache on GPUs
# Memory of an engine apart from weights and cache: CUDA context, activations of the largest step,
# logits and CUDA graphs. A conservative estimate for LLMs up to 7B.
WORKSPACE = 4 * GIB
OWN_PROCESS = "VLLM_ENABLE_V1_MULTIPROCESSING"


@dataclass(frozen=True)
class Gpu:
    """The first GPU visible to this process.

    Attributes
    ----------
    capability : tuple of int
        CUDA compute capability: major, minor.
    memory : int
        Total bytes.
    """

    capability: tuple[int, int]
    memory: int


def find_gpu() -> Gpu | None:
    """The GPU that vLLM will use; None if it runs on the CPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    # vLLM queries the driver's management library. Querying torch would initialize CUDA in this
    # process, which does not need it if EngineCore runs in a separate one.
    from vllm.platforms import current_platform

    major, minor = current_platform.get_device_capability()
    return Gpu((major, minor), current_platform.get_device_total_memory())


def decoding_dtype(gpu: Gpu | None) -> str:
    """The fastest dtype for decoding here; vLLM rejects bfloat16 below capability 8.0."""
    if gpu is None:
        return cpu_dtype()
    return "bfloat16" if gpu.capability >= (8, 0) else "float16"


def set_environment() -> None:
    """Environment variables that vLLM reads when it is imported or an engine starts."""
    defaults = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        # vLLM would compile FlashInfer's sampler when an engine starts, which fails on machines
        # without a CUDA toolkit (vllm-project/vllm#49497), but never use it for seeded requests, as
        # all of ours are.
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        # With binding, threads of two engines could share a core; the OS places them better.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # Kernels compiled at run time need programs such as ninja, which are installed next to this
    # Python but not on PATH unless its environment is activated.
    here, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if here not in path.split(os.pathsep):
        os.environ["PATH"] = f"{here}{os.pathsep}{path}" if path else here


def has_own_process(gpu: Gpu | None, asked: bool | None) -> bool:
    """Whether the engine runs in a separate process.

    Parameters
    ----------
    gpu : Gpu or None
    asked : bool or None
        None: as set in the environment, otherwise yes on a GPU, where scheduling then overlaps
        with computing, and no on a CPU.
    """
    if asked is not None:
        return asked
    return os.environ.get(OWN_PROCESS, "0" if gpu is None else "1") == "1"


@contextmanager
def process_setting(own: bool) -> Iterator[None]:
    """Set vLLM's process mode while one engine starts, without affecting other child processes."""
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
        If the engines do not fit on the GPU.
    """
    if gpu is None:
        return {
            # A seeded prompt that is processed in two steps crashes the engine on CPU ("CPU
            # Generator does not use offset"); in a full batch, that would happen to prompts over 16
            # tokens.
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
        # With a fixed cache size, vLLM only checks that this share is free when the engine starts.
        "gpu_memory_utilization": share,
    }
    if not eager and sequences > SEQUENCES:
        arguments["max_cudagraph_capture_size"] = sequences  # vLLM's default is 512
    cache = _cache_bytes(model, dtype, sequences, max_model_len, tensor_parallel_size)
    needed = _weight_bytes(model) // tensor_parallel_size + cache + WORKSPACE
    if needed <= share * gpu.memory:
        # Otherwise vLLM would size the cache by the free memory of the whole device: memory that
        # the gate or another engine takes in the meantime would shrink the cache, and memory that
        # they free would crash the engine. More cache than this is never used.
        arguments["kv_cache_memory_bytes"] = cache
    elif engines_per_gpu > 1:
        raise UserError(
            f"{engines_per_gpu} engines of {model} need {needed / GIB:.1f} "
            "GiB each, but each one's "
            f"share of a GPU is {share * gpu.memory / GIB:.1f} GiB; "
            "lower resources.decoders_per_gpu."
        )
    return arguments


def _cache_bytes(
    model: str, dtype: str, sequences: int, max_model_len: int, tensor_parallel_size: int
) -> int:
    """Size of a cache per GPU that fits all sequences in flight at maximum length."""
    import torch
    from transformers import AutoConfig

    llm = load_pretrained(AutoConfig, model).get_text_config()
    heads = getattr(llm, "num_key_value_heads", None) or llm.num_attention_heads
    width = getattr(llm, "head_dim", None) or llm.hidden_size // llm.num_attention_heads
    numbers = 2 * llm.num_hidden_layers * max(1, heads // tensor_parallel_size) * width
    # One more block for each, and one that vLLM reserves.
    blocks = sequences * (math.ceil(max_model_len / KV_BLOCK) + 1) + 1
    itemsize: int = getattr(torch, dtype).itemsize
    return int(blocks * KV_BLOCK * numbers * itemsize)


def _weight_bytes(model: str) -> int:
    """Size of the weight files, an upper bound for the LLM in memory."""
    return sum(file.stat().st_size for file in weight_files(Path(model)))
