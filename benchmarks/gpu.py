"""On whatever GPU there is: decoding, searching and encoding, and the shape of a 7B LLM.

    python benchmarks/gpu.py --output /tmp/gpu

Each way in a process of its own, one after the other:

- `decoder`: what an actor of the decode job holds (vLLM with soft prompts), and `generate`: Hugging
  Face with the same LLM and the same prompts, in batches of 256;
- `FAISS`: exact search among 500,000 vectors of 384 numbers, on the GPU and on all CPU cores;
- `encoder`: texts of Reuters R8 in batches of 64, in float32 and bfloat16;
- `7B`: vLLM with an LLM of Mistral-7B's shape and random weights, one soft vector a prompt. The
  limit is that of memory bandwidth: each step reads all weights once, for all texts of the batch.

Without a GPU everything runs on the CPU, which checks the script; so does `--tiny`, with small
sizes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from figures import Target, machine, save, show, show_ratios

SIZES = {
    "points": 2048,
    "batch": 256,
    "base": 500_000,
    "queries": 20_000,
    "texts": 5485,
    "steps": 128,
    "copied_mib": 4096,
}
TINY = {
    "points": 16,
    "batch": 8,
    "base": 2000,
    "queries": 100,
    "texts": 64,
    "steps": 8,
    "copied_mib": 64,
}
TINY_SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
}
BATCHES = (1, 16, 64, 256)
DIM = 384
K = 6
TARGETS = [
    Target("decoder", "generate", 2.5),
    Target("FAISS, GPU", "FAISS, CPU", 10.0),
    Target("encoder, bfloat16", "encoder, float32", 1.0),
]


def main() -> int:
    options = _options()
    if options.child:
        print(json.dumps(WAYS[options.child](TINY if options.tiny else SIZES, options.output)))
        return 0
    options.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--output", str(options.output), "--child", way]
        command += ["--tiny"] if options.tiny else []
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found[way] = json.loads(said.splitlines()[-1])
    here = machine()
    print(f"\n{here['gpu'] or here['cpu']}, {here['date']}\n")
    large = found.pop("7B")
    show(
        ["way", "a second", "of", "start, s"],
        [
            [way, f"{row['speed']:,.0f}", row["of"], f"{row['start']:.0f}"]
            for way, row in found.items()
        ],
    )
    ratios = show_ratios({way: row["speed"] for way, row in found.items()}, TARGETS)
    show_large(large)
    save(options.output / "gpu.json", found=found, large=large, ratios=ratios, tiny=options.tiny)
    return 0


def decoder(sizes: dict[str, int], home: Path) -> dict[str, Any]:
    """Tokens a second of what an actor holds."""
    from smotext_ray.actors import load_decoder

    config, points = _points(sizes)
    started = time.monotonic()
    held = load_decoder(config)
    held.decode(points[:8], range(8))
    ready = time.monotonic()
    made = held.decode(points, range(len(points)))
    seconds = time.monotonic() - ready
    tokens = sum(sum(candidates.num_tokens) for candidates in made)
    return {"speed": tokens / seconds, "of": "tokens", "start": ready - started}


def generate(sizes: dict[str, int], home: Path) -> dict[str, Any]:
    """Tokens a second of Hugging Face."""
    import torch
    from decode import generated_tokens, generation, soft_prompts
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from smotext_ray.models import load_bridge, locate_model, merged_llm

    config, points = _points(sizes)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    started = time.monotonic()
    bridge, lora = load_bridge(config.bridge.path)
    llm = merged_llm(locate_model(config.decoder.model).path, lora)
    tokenizer = AutoTokenizer.from_pretrained(llm)
    model = AutoModelForCausalLM.from_pretrained(llm, dtype=torch.bfloat16).to(device).eval()
    tokens = 0

    def decode(some: np.ndarray) -> int:
        prompts = soft_prompts(bridge, some, model.dtype).to(device)
        ids = model.generate(**generation(prompts, tokenizer, config.decoder))
        return generated_tokens(ids, tokenizer)

    decode(points[:8])
    ready = time.monotonic()
    for start in range(0, len(points), sizes["batch"]):
        tokens += decode(points[start : start + sizes["batch"]])
    seconds = time.monotonic() - ready
    return {"speed": tokens / seconds, "of": "tokens", "start": ready - started}


def _points(sizes: dict[str, int]) -> tuple[Any, np.ndarray]:
    """The offline preset, and points half way between neighbouring rows of R8."""
    from smotext_ray.config import load_config

    config = load_config("offline", options={"decoder.candidates": 1})
    x = _encoder("float32").encode(_texts(sizes["points"]))
    points = (x + np.roll(x, 1, axis=0)) / 2
    return config, points / np.linalg.norm(points, axis=1, keepdims=True)


def _texts(number: int) -> list[str]:
    from smotext_ray.datasets import load_dataset

    texts = load_dataset("reuters-r8")["text"].to_pylist()
    return [str(text) for text in (texts * (number // len(texts) + 1))[:number]]


def _encoder(dtype: str) -> Any:
    from smotext_ray.config import load_config
    from smotext_ray.encoder import Encoder
    from smotext_ray.models import locate_model

    settings = load_config("offline").encoder
    return Encoder(locate_model(settings.model).path, dtype=dtype)


def encoding(dtype: str) -> Callable[[dict[str, int], Path], dict[str, Any]]:
    """Texts a second."""

    def measure(sizes: dict[str, int], home: Path) -> dict[str, Any]:
        texts = _texts(sizes["texts"])
        started = time.monotonic()
        encoder = _encoder(dtype)
        encoder.encode(texts[:64])
        ready = time.monotonic()
        encoder.encode(texts)
        seconds = time.monotonic() - ready
        return {"speed": len(texts) / seconds, "of": "texts", "start": ready - started}

    return measure


def searching(on_gpu: bool) -> Callable[[dict[str, int], Path], dict[str, Any]]:
    """Queries a second of the bare search."""

    def measure(sizes: dict[str, int], home: Path) -> dict[str, Any]:
        import faiss

        rng = np.random.default_rng(0)
        base = rng.normal(size=(sizes["base"], DIM)).astype(np.float32)
        queries = base[: sizes["queries"]]
        started = time.monotonic()
        if on_gpu and hasattr(faiss, "StandardGpuResources"):
            resources = faiss.StandardGpuResources()

            def search(some: np.ndarray) -> None:
                faiss.knn_gpu(resources, some, base, K, metric=faiss.METRIC_INNER_PRODUCT)
        else:

            def search(some: np.ndarray) -> None:
                faiss.knn(some, base, K, metric=faiss.METRIC_INNER_PRODUCT)

        search(queries[:32])
        ready = time.monotonic()
        search(queries)
        seconds = time.monotonic() - ready
        return {"speed": len(queries) / seconds, "of": "queries", "start": ready - started}

    return measure


def large_shape(sizes: dict[str, int], home: Path) -> dict[str, Any]:
    """Tokens a second of a 7B LLM by texts in a batch, and the limit of memory bandwidth."""
    import torch
    from transformers import MistralConfig

    from smotext_ray.engine_device import set_environment

    on_gpu = torch.cuda.is_available()
    set_environment()
    from vllm import LLM, SamplingParams

    numbers = TINY_SHAPE if sizes is TINY else {}  # Mistral-7B's are the defaults
    shape = MistralConfig(**numbers, architectures=["MistralForCausalLM"])
    model = home / "shape"
    shape.save_pretrained(model)
    bandwidth = copied_bytes_a_second(sizes["copied_mib"])
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
    weights = 2 * _weights(shape)
    limits = {batch: batch * bandwidth / weights for batch in speeds}
    return {
        "weights_gb": weights / 1e9,
        "gb_a_second": bandwidth / 1e9,
        "start": start,
        "batches": [[b, speeds[b], limits[b]] for b in speeds],
    }


def _weights(shape: Any) -> int:
    """Numbers that a step reads: all but the table of input embeddings."""
    heads = shape.num_attention_heads + shape.num_key_value_heads
    attention = 2 * shape.hidden_size * heads * shape.head_dim
    mlp = 3 * shape.hidden_size * shape.intermediate_size
    layers = shape.num_hidden_layers * (attention + mlp)
    return int(layers + shape.vocab_size * shape.hidden_size)


def copied_bytes_a_second(mib: int) -> float:
    """Bytes that the device reads and writes a second while it copies."""
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


WAYS: dict[str, Callable[[dict[str, int], Path], dict[str, Any]]] = {
    "decoder": decoder,
    "generate": generate,
    "FAISS, GPU": searching(on_gpu=True),
    "FAISS, CPU": searching(on_gpu=False),
    "encoder, float32": encoding("float32"),
    "encoder, bfloat16": encoding("bfloat16"),
    "7B": large_shape,
}


def show_large(large: dict[str, Any]) -> None:
    print(
        f"7B's shape: {large['weights_gb']:.2f} GB of weights a step, memory at "
        f"{large['gb_a_second']:,.0f} GB/s\n"
    )
    show(
        ["texts in a batch", "tokens/s", "limit", "share"],
        [
            [batch, f"{speed:,.0f}", f"{limit:,.0f}", f"{speed / limit:.0%}"]
            for batch, speed, limit in large["batches"]
        ],
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--tiny", action="store_true", help="small sizes, to check the script")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
