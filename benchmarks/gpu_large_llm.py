"""An LLM of a 7B's shape, on whatever GPU there is; see benchmarks/gpu.py.

- `7B`: vLLM with an LLM of Mistral-7B's shape and random weights, one soft vector per prompt. The
  limit is that of memory bandwidth: each step reads all weights once, for all texts of the batch.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from figures import show

SIZES = {"steps": 128, "copied_mib": 4096}
TOY = {"steps": 8, "copied_mib": 64}
TOY_SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 512,
}
BATCHES = (1, 16, 64, 256)


def large_shape(toy: bool, home: Path) -> dict[str, Any]:
    """Tokens per second of a 7B LLM by texts in a batch, and the limit of memory bandwidth."""
    import torch
    from transformers import MistralConfig

    from smotext_ray.models.engine_device import set_environment

    on_gpu, sizes = torch.cuda.is_available(), TOY if toy else SIZES
    set_environment()
    from vllm import LLM, SamplingParams

    numbers = TOY_SHAPE if toy else {}  # Mistral-7B's are the defaults
    shape = MistralConfig(**numbers, architectures=["MistralForCausalLM"])
    model = home / "shape"
    shape.save_pretrained(model)
    bandwidth = copied_bytes_per_second(sizes["copied_mib"])
    started = time.monotonic()
    llm = LLM(
        str(model),
        load_format="dummy",
        skip_tokenizer_init=True,
        dtype="bfloat16",
        enable_prompt_embeds=True,
        enable_prefix_caching=False,
        enable_chunked_prefill=on_gpu,
        enforce_eager=not on_gpu,
        max_model_len=2 * sizes["steps"],
        max_num_seqs=max(BATCHES),
    )
    start = time.monotonic() - started
    sampling = SamplingParams(
        max_tokens=sizes["steps"], ignore_eos=True, detokenize=False, temperature=0.7
    )
    speeds = {}
    for batch in (*BATCHES[:1], *BATCHES):  # the first again: once to warm
        vectors = torch.randn(batch, 1, shape.hidden_size, dtype=torch.bfloat16)
        prompts = [{"prompt_embeds": vector} for vector in vectors]
        began = time.monotonic()
        made = llm.generate(prompts, sampling, use_tqdm=False)
        tokens = sum(len(output.outputs[0].token_ids) for output in made)
        speeds[batch] = tokens / (time.monotonic() - began)
    end_engine(llm)
    weights = 2 * _weights(shape)
    limits = {batch: batch * bandwidth / weights for batch in speeds}
    best = max(speeds, key=lambda batch: speeds[batch])
    return {
        "line": f"{speeds[best]:,.0f} tokens/s with {best} texts in a batch, "
        f"{speeds[1] / limits[1]:.0%} of the limit with one",
        "weights_gb": weights / 1e9,
        "gb_a_second": bandwidth / 1e9,
        "start": start,
        "batches": [[b, speeds[b], limits[b]] for b in speeds],
    }


def end_engine(llm: Any) -> None:
    """End the engine's own process: this one is a child, and would wait for it at its exit."""
    llm.llm_engine.engine_core.shutdown()


def _weights(shape: Any) -> int:
    """Weights that a step reads: all but the table of input embeddings."""
    heads = shape.num_attention_heads + shape.num_key_value_heads
    attention = 2 * shape.hidden_size * heads * shape.head_dim
    mlp = 3 * shape.hidden_size * shape.intermediate_size
    layers = shape.num_hidden_layers * (attention + mlp)
    return int(layers + shape.vocab_size * shape.hidden_size)


def copied_bytes_per_second(mib: int) -> float:
    """Bytes per second that the device reads and writes while it copies."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    source = torch.ones(mib << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(5):
        started = time.monotonic()
        target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * len(source) / (time.monotonic() - started))
    return best


def show_large(large: dict[str, Any]) -> None:
    print(
        f"7B's shape: {large['weights_gb']:.2f} GB of weights per step, memory at "
        f"{large['gb_a_second']:,.0f} GB/s\n"
    )
    show(
        ["texts in a batch", "tokens/s", "limit", "share"],
        [
            [batch, f"{speed:,.0f}", f"{limit:,.0f}", f"{speed / limit:.0%}"]
            for batch, speed, limit in large["batches"]
        ],
    )
