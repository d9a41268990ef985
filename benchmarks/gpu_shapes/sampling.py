"""Sampling: our nucleus on the device, and vLLM's Triton kernels where its sources are at hand.

vLLM itself is not imported. Its sources are looked for on the import path (an installed vLLM, or
a folder ``vllm/`` of a few of its files there), and the modules that they need are stood in for.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib import util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from gpu_shapes.clock import device, seconds_of, told

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
    times = 1 if toy else 20
    shapes = {f"{rows} x {words}": (rows, words) for rows, words in (TOY_SHAPES if toy else SHAPES)}
    ours = {name: _compared(_logits(*shape), _ours, times) for name, shape in shapes.items()}
    found: dict[str, Any] = {"ours": ours}
    if has_vllm():
        found["vllm"] = told(lambda: _of_vllm(shapes, times))
    line = "; ".join(
        f"{shape}: {row['ms']:.2f} ms, {row['sorting_ms']:.2f} by sorting"
        for shape, row in ours.items()
    )
    return {"line": f"{line}; vLLM's kernels: {_short(found.get('vllm'))}"} | found


def _short(found: Any) -> str:
    if found is None:
        return "its sources are not there"
    if "error" in found:
        return f"FAILED ({found['error']})"
    rows = found["shapes"].items()
    return "; ".join(f"{s}: {r['ms']:.2f} ms, Gumbel {r['gumbel_ms']:.2f}" for s, r in rows)


def _of_vllm(shapes: dict[str, tuple[int, int]], times: int) -> dict[str, Any]:
    kernels = vllm_kernels()
    rows = {}
    for name, shape in shapes.items():
        logits = _logits(*shape)
        gumbel = 1000 * seconds_of(partial(kernels.gumbel, logits), times)
        rows[name] = _compared(logits, kernels.top_p, times) | {"gumbel_ms": gumbel}
    return {"shapes": rows, "overlay_ms": kernels.overlay(times)}


def _compared(logits: Any, way: Callable[[Any], Any], times: int) -> dict[str, float]:
    """A way to find the nucleus next to sorting: times, and the share of tokens they agree on."""
    wanted, found = _by_sorting(logits.clone()).isinf(), way(logits.clone()).isinf()
    agree = (found == wanted).double().mean().item()
    if agree < 0.999:  # rounding moves a few at the edge
        raise AssertionError(f"not the same nucleus: {agree:.4f} of the tokens agree")
    return {
        "agree": agree,
        "ms": 1000 * seconds_of(lambda: way(logits.clone()), times),
        "sorting_ms": 1000 * seconds_of(lambda: _by_sorting(logits), times),
    }


def _logits(rows: int, words: int) -> Any:
    """After the temperature; few tokens have most of the mass, as in a trained LLM."""
    import torch

    torch.manual_seed(0)
    return 3 * torch.randn(rows, words, device=device()) / TEMPERATURE


def _ours(logits: Any) -> Any:
    from smotext_ray.models.top_p import keep_nucleus

    return keep_nucleus(logits, P)


def _by_sorting(logits: Any) -> Any:
    """As every textbook has it, in float64."""
    values, order = logits.double().softmax(dim=1).sort(dim=1, descending=True)
    outside = values.cumsum(dim=1) - values >= P
    return logits.masked_fill(outside.scatter(1, order, outside), float("-inf"))


def has_vllm() -> bool:
    """Whether vLLM's sources are at hand, and a GPU to run them, or Triton's interpreter."""
    can_run = device() == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    return can_run and all(util.find_spec(name) is not None for name in ("vllm", "triton"))


def vllm_kernels() -> SimpleNamespace:
    """vLLM's kernels: ``top_p`` and ``gumbel`` of logits, ``overlay`` of how many times."""
    found = util.find_spec("vllm")
    _stand_in(list(found.submodule_search_locations or []) if found else [])
    top_p, gumbel, overlay = (importlib.import_module(name) for name in (TOP_P, GUMBEL, OVERLAY))
    return SimpleNamespace(
        top_p=lambda logits: _vllm_top_p(top_p, logits),
        gumbel=lambda logits: _vllm_gumbel(gumbel, logits),
        overlay=lambda times: _vllm_overlay(overlay, times),
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


def _vllm_overlay(module: Any, times: int) -> float:
    """Milliseconds; the prompts' vectors must stand where they belong, and nowhere else."""
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

    seconds = seconds_of(overlay, times)
    gap = torch.zeros(1, HIDDEN, **made)
    wanted = torch.cat([part for prompt in prompts for part in (prompt, gap)])
    if not torch.equal(inputs, wanted):
        raise AssertionError("the overlay differs from the prompts")
    return 1000 * seconds


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
