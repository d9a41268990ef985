"""Sampling: our nucleus on the device, and vLLM's Triton kernels where its sources are at hand.

vLLM itself is not imported. Its sources are looked for on the import path (an installed vLLM, or
a folder ``vllm/`` of a few of its files there), and the modules that they need are stood in for.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import nullcontext
from importlib import util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from gpu_shapes.clock import device, seconds_of

SHAPES = ((256, 49_152), (1024, 49_152), (256, 32_002))  # rows, vocabulary
TOY_SHAPES = ((8, 512),)
P = 0.95
TEMPERATURE = 0.7
HIDDEN = 576
TOP_P = "vllm.v1.sample.ops.topk_topp_triton"
GUMBEL = "vllm.v1.worker.gpu.sample.gumbel"
OVERLAY = "vllm.v1.worker.gpu.model_states.prompt_embeds"


def measure(toy: bool, home: Path) -> dict[str, Any]:
    """Milliseconds of each way, and whether all keep the same tokens."""
    found: dict[str, Any] = {}
    kernels = vllm_kernels()
    for rows, words in TOY_SHAPES if toy else SHAPES:
        logits = _logits(rows, words)
        ways = {"keep_nucleus": _ours, "sorting": _by_sorting}
        if kernels is not None:
            ways |= {"vllm_top_p": kernels.top_p, "vllm_gumbel": kernels.gumbel}
        found[f"{rows} x {words}"] = {
            name: 1000 * seconds_of(lambda w=way, x=logits: w(x.clone()), 1 if toy else 20)
            for name, way in ways.items()
        } | _agreement(logits, kernels)
    if kernels is not None:
        found["overlay"] = kernels.overlay()
    line = "; ".join(
        f"{shape}: " + ", ".join(f"{name} {_short(name, value)}" for name, value in row.items())
        for shape, row in found.items()
        if isinstance(row, dict)
    )
    told = "" if kernels is not None else "; vLLM's sources are not there"
    return {"line": line + told, "vllm": kernels is not None, "shapes": found}


def _short(name: str, value: float) -> str:
    return f"{value:.4f}" if name.endswith("agree") else f"{value:.2f} ms"


def _logits(rows: int, words: int) -> Any:
    """After the temperature; few tokens have most of the mass, as in a trained LLM."""
    import torch

    torch.manual_seed(0)
    return 3 * torch.randn(rows, words, device=device()) / TEMPERATURE


def _ours(logits: Any) -> Any:
    from smotext_ray.nucleus import keep_nucleus

    return keep_nucleus(logits, P)


def _by_sorting(logits: Any) -> Any:
    """As every textbook has it, in float64."""
    values, order = logits.double().softmax(dim=1).sort(dim=1, descending=True)
    outside = values.cumsum(dim=1) - values >= P
    return logits.masked_fill(outside.scatter(1, order, outside), float("-inf"))


def _agreement(logits: Any, kernels: Any) -> dict[str, float]:
    """The share of tokens that are kept or dropped as by sorting; rounding moves a few."""
    wanted = _by_sorting(logits.clone()).isinf()
    ways = {"ours": _ours} | ({"vllm": kernels.top_p} if kernels is not None else {})
    shares = {
        f"{name}_agree": (way(logits.clone()).isinf() == wanted).double().mean().item()
        for name, way in ways.items()
    }
    if min(shares.values()) < 0.999:
        raise AssertionError(f"not the same nucleus: {shares}")
    return shares


def vllm_kernels() -> SimpleNamespace | None:
    """vLLM's kernels as functions of logits; None without its sources, or without Triton on a GPU.

    Triton interprets them on a CPU, slowly, where TRITON_INTERPRET=1 asks for it.
    """
    found = util.find_spec("vllm")
    no_gpu = device() == "cpu" and os.environ.get("TRITON_INTERPRET") != "1"
    if found is None or no_gpu or util.find_spec("triton") is None:
        return None
    _stand_in(list(found.submodule_search_locations or []))
    top_p, gumbel, overlay = (importlib.import_module(name) for name in (TOP_P, GUMBEL, OVERLAY))
    return SimpleNamespace(
        top_p=lambda logits: _vllm_top_p(top_p, logits),
        gumbel=lambda logits: _vllm_gumbel(gumbel, logits),
        overlay=lambda: _vllm_overlay(overlay),
    )


def _vllm_top_p(module: Any, logits: Any) -> Any:
    import torch

    p = torch.full((len(logits),), P, device=logits.device)
    if device() == "cuda":
        return module.apply_top_k_top_p_triton(logits, None, p)
    # What a GPU takes for few rows; the kernel for many is more than the interpreter can do.
    module._apply_topp_split(logits, None, p, float("-inf"), 1)
    return logits


def _vllm_gumbel(module: Any, logits: Any) -> Any:
    """One token for each row, by a seed of its own."""
    import torch

    rows = torch.arange(len(logits), device=logits.device)
    temperature = torch.ones(len(logits), device=logits.device)
    return module.gumbel_sample(
        logits, rows.int(), temperature, rows, rows, apply_temperature=False, is_drafting=False
    )


def _vllm_overlay(module: Any) -> dict[str, float]:
    """The prompts' vectors stand where they belong, and nowhere else."""
    import torch

    lengths, made = [8, 3, 0, 17], {"device": device(), "dtype": torch.bfloat16}
    prompts = [torch.randn(length, HIDDEN, **made) for length in lengths]
    scheduled = [length + 1 for length in lengths]  # and one token after each prompt
    inputs = torch.zeros(sum(scheduled), HIDDEN, **made)
    starts = torch.tensor([0, *scheduled], device=device()).cumsum(0).int()
    pointers = torch.tensor([p.data_ptr() for p in prompts], device=device()).to(torch.uint64)
    order = torch.arange(len(lengths), device=device()).int()
    grid = (len(lengths), 2)

    def overlay() -> None:
        module._apply_prompt_embeds_kernel[grid](
            inputs,
            inputs.stride(0),
            pointers,
            torch.zeros_like(pointers),
            torch.tensor(lengths, device=device()).int(),
            order,
            starts,
            torch.zeros_like(order),
            HIDDEN,
            TOKEN_BLOCK=16,
            BLOCK_SIZE=1024,
        )

    seconds = seconds_of(overlay, 20)
    gap = torch.zeros(1, HIDDEN, **made)
    wanted = torch.cat([part for prompt in prompts for part in (prompt, gap)])
    if not torch.equal(inputs, wanted):
        raise AssertionError("the overlay differs from the prompts")
    return {"overlay": 1000 * seconds}


def _stand_in(places: list[str]) -> None:
    """Modules that vLLM's kernels import and do not need, in the place of vLLM's own."""
    import torch
    import triton
    import triton.language as tl

    on_gpu = device() == "cuda"

    def units(index: int | None = None) -> int:
        if not on_gpu:
            return 1
        return torch.cuda.get_device_properties(index or 0).multi_processor_count

    platform = SimpleNamespace(
        device_type=device(), is_cuda=lambda: on_gpu, is_cuda_alike=lambda: on_gpu
    )
    modules: dict[str, dict[str, Any]] = {
        "vllm": {"__path__": places},
        "vllm.envs": {"VLLM_TRITON_JIT_WARMUP_NUM_THREADS": 1},
        "vllm.triton_utils": {"tl": tl, "triton": triton, "HAS_TRITON": True},
        "vllm.platforms": {"current_platform": platform},
        "vllm.utils": {"__path__": []},
        "vllm.utils.gpu_sync_debug": {"gpu_sync_allowed": nullcontext},
        "vllm.utils.math_utils": {"next_power_of_2": triton.next_power_of_2},
        "vllm.utils.platform_utils": {"num_compute_units": units},
        "vllm.utils.torch_utils": {"async_tensor_h2d": None},
        "vllm.v1.core": {"__path__": []},
        "vllm.v1.core.sched": {"__path__": []},
        "vllm.v1.core.sched.output": {"NewRequestData": None},
        "vllm.v1.worker.gpu.buffer_utils": {"UvaBackedTensor": None},
        "vllm.v1.worker.gpu.input_batch": {"InputBatch": None},
    }
    # Packages whose own __init__ imports the engine.
    for name in ("vllm.model_executor", "vllm.v1.worker.gpu.model_states"):
        inside = name.split(".")[1:]
        modules[name] = {"__path__": [str(Path(place, *inside)) for place in places]}
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
    sys.modules["vllm"].envs = sys.modules["vllm.envs"]  # type: ignore[attr-defined]
