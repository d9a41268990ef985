"""Run by test_vllm_kernels.py: vLLM's kernels for GPUs, interpreted on the CPU.

vLLM leaves Triton out where there is no GPU, and its CPU build has other code for sampling and
for prompts of embeddings. Triton's interpreter runs the kernels that a GPU would run.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined
os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"

import numpy as np
import torch
import triton
import triton.language as tl
import vllm.triton_utils as of_vllm
from triton.runtime import interpreter

of_vllm.HAS_TRITON, of_vllm.triton, of_vllm.tl = True, triton, tl

from vllm.v1.sample.ops import topk_topp_triton as top_p_kernels  # noqa: E402
from vllm.v1.worker.gpu.model_states import prompt_embeds  # noqa: E402
from vllm.v1.worker.gpu.sample import gumbel  # noqa: E402

from smotext_ray.models.top_p import keep_nucleus  # noqa: E402

PROGRAMS = 4  # that a GPU would run at once
P = [0.95, 0.5, 0.99, 1.0, 0.9]


class Row(int):
    """A counter of ``tl.range``, which is a plain number in the interpreter and no tensor."""

    def to(self, dtype: Any) -> Row:
        return self


def counters_are_tensors() -> None:
    patch = interpreter._patch_lang

    def patched(function: Any) -> Any:
        scope = patch(function)
        plain = tl.range
        tl.range = lambda *given, **options: map(Row, plain(*given, **options))
        return scope

    interpreter._patch_lang = patched


def top_p() -> dict[str, Any]:
    """How many tokens each kernel keeps that torch's definition does not, and the other way."""
    top_p_kernels.num_compute_units = lambda *_: PROGRAMS
    found: dict[str, Any] = {"split": [], "whole": [], "sizes": []}
    for vocabulary, spread in [(300, 3.0), (300, 0.3), (700, 2.0)]:
        torch.manual_seed(vocabulary)
        logits = torch.randn(len(P), vocabulary) * spread
        p = torch.tensor(P)
        rows = [
            keep_nucleus(row[None].clone(), share) for row, share in zip(logits, P, strict=True)
        ]
        wanted = torch.cat(rows)
        found["sizes"].append(wanted.isfinite().sum(1).tolist())
        split = logits.clone()  # the kernels for up to 64 texts at once
        top_p_kernels._apply_topp_split(split, None, p, -np.inf, PROGRAMS)
        whole = top_p_kernels.apply_top_k_top_p_triton(logits.clone(), None, p)  # for more
        for name, got in {"split": split, "whole": whole}.items():
            found[name].append((got.isfinite() != wanted.isfinite()).sum(1).tolist())
            assert torch.equal(got[got.isfinite()], logits[got.isfinite()])
    return found


@triton.jit
def _uniforms_kernel(out, seeds, positions, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    keys = tl.arange(0, BLOCK)
    seed, position = tl.load(seeds + row), tl.load(positions + row)
    tl.store(out + row * BLOCK + keys, gumbel.murmur3_uniform32(seed, position, keys))


def sampling() -> dict[str, Any]:
    """Tokens by vLLM, and by torch from the same uniform numbers."""
    seeds, positions = (
        grid.flatten().contiguous()
        for grid in torch.meshgrid(torch.arange(5) * 2**27, torch.arange(8, 11), indexing="ij")
    )
    rows = torch.arange(len(seeds), dtype=torch.int32)
    logits = torch.randn(len(rows), 1024) * 3
    logits[:, :300] = -torch.inf  # outside of the nucleus
    heat = torch.full((len(rows),), 0.7)
    heat[-1] = 0.0
    uniform = torch.empty(len(rows), 1024)
    _uniforms_kernel[(len(rows),)](uniform, seeds, positions, BLOCK=1024)
    noised = logits[:-1] / 0.7 - torch.log(-torch.log1p(-uniform[:-1].double()))
    wanted = [*noised.argmax(1).tolist(), logits[-1].argmax().item()]

    def tokens(order: torch.Tensor) -> list[int]:
        """Each row has a request, whose settings lie at its place in tables."""
        heated = logits[order]
        gumbel.apply_temperature(heated, rows[order], heat)
        return gumbel.gumbel_sample(
            *(heated, rows[order], heat, seeds, positions[order]),
            apply_temperature=False,
            is_drafting=False,
        ).tolist()

    return {
        "tokens": tokens(rows.long()),
        "backwards": tokens(rows.long().flip(0))[::-1],
        "wanted": wanted,
        "uniform": uniform.flatten().sort().values.tolist(),
        "correlations": torch.corrcoef(uniform).triu(1).abs().max().item(),
    }


def overlay() -> dict[str, Any]:
    """Soft prompts of three requests; one is read in two steps, one has no embeddings."""
    hidden = 1100  # more than a kernel copies at once
    prompts = [torch.randn(8, hidden), torch.randn(20, hidden)]
    read = [0, 2, 0]  # tokens of each that earlier steps have read
    starts = [0, 8, 26, 30]
    before = torch.randn(starts[-1], hidden)
    after = before.clone()
    addresses = torch.tensor([p.data_ptr() for p in prompts] + [0], dtype=torch.uint64)
    prompt_embeds._apply_prompt_embeds_kernel[(3, 2)](
        after,
        after.stride(0),
        addresses,
        torch.zeros(3, dtype=torch.uint64),  # no masks
        torch.tensor([8, 20, 0], dtype=torch.int32),
        torch.arange(3, dtype=torch.int32),
        torch.tensor(starts, dtype=torch.int32),
        torch.tensor(read, dtype=torch.int32),
        hidden,
        TOKEN_BLOCK=prompt_embeds.TOKEN_BLOCK,
        BLOCK_SIZE=1024,
    )
    wanted = torch.cat([prompts[0], prompts[1][2:], before[26:]])
    return {"equal": torch.equal(after, wanted)}


if __name__ == "__main__":
    counters_are_tensors()
    torch.manual_seed(0)
    report = {"top_p": top_p(), "sampling": sampling(), "overlay": overlay()}
    Path(sys.argv[1]).write_text(json.dumps(report))
