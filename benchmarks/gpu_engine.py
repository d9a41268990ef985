"""The engine and all around it, on whatever GPU there is; see benchmarks/gpu.py.

- `demo`: `smotext augment` of the README through Ray: corpus, encoders, plan, decoders and gates;
- `decoder`: what an actor of the decode job holds (vLLM with soft prompts), and `generate`: Hugging
  Face with the same LLM and the same prompts, in batches of 256;
- `FAISS`: exact search among 500,000 vectors of 384 dimensions, on the GPU and on all CPU cores;
- `encoder`: texts of Reuters R8 in batches of 64, in float32 and bfloat16;
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from figures import Target, show, show_ratios
from gpu_large_llm import end_engine, show_large

SIZES = {
    "points": 2048,
    "batch": 256,
    "base": 500_000,
    "queries": 20_000,
    "texts": 5485,
    "corpus": 5485,
}
TOY = {
    "points": 16,
    "batch": 8,
    "base": 2000,
    "queries": 100,
    "texts": 64,
    "corpus": 120,
}
DIM = 384
FEWEST = 3  # texts of a class that still have neighbors
K = 6
TARGETS = [
    Target("decoder", "generate", 2.5),
    Target("FAISS, GPU", "FAISS, CPU", 10.0),
    Target("encoder, bfloat16", "encoder, float32", 1.0),
]


def demo(toy: bool, home: Path) -> dict[str, Any]:
    """The demo of the README through Ray, from texts to accepted texts; seconds of each stage.

    Rates count the start of each stage's actors, as a user waits for it.
    """
    from smotext_ray.config.load import load_config
    from smotext_ray.pipeline.rounds import augment
    from smotext_ray.run.manifest import Manifest

    corpus, counts = _corpus(_sizes(toy), home)
    rare = counts.most_common()[-2:]
    wanted = {label: number + 4 for label, number in rare} if toy else {"grain": 160, "ship": 160}
    options = {"input.path": str(corpus), "plan.sampling_strategy": wanted}
    started = time.monotonic()
    manifest = Manifest.read(augment(load_config("offline", options=options), str(home / "run")))
    seconds = time.monotonic() - started
    decoded = [entry.decode for entry in manifest.rounds if entry.decode is not None]
    spent = sum(facts.seconds for facts in decoded)
    accepted = sum(manifest.accepted().values())
    rows, embed = manifest.input.rows, manifest.stages["embed"].seconds
    points = manifest.points
    tokens = sum(facts.tokens for facts in decoded)
    if not accepted:
        raise AssertionError(f"none of {points} points became an accepted text")
    return {
        "line": f"{rows:,} texts embedded in {embed:.0f} s ({rows / embed:,.0f}/s), {points:,} "
        f"points decoded in {spent:.0f} s ({tokens / spent:,.0f} tokens/s, "
        f"{points / spent:,.1f} points/s) by {decoded[0].actors} decoders, {accepted:,} "
        f"accepted; {seconds:.0f} s in all",
        "seconds": seconds,
        "stages": {name: facts.model_dump() for name, facts in manifest.stages.items()},
        "rounds": [entry.model_dump(mode="json") for entry in manifest.rounds],
    }


def _corpus(sizes: dict[str, int], home: Path) -> tuple[Path, Counter[str]]:
    """Rows of R8 as a file, and how many each class has."""
    import pyarrow.parquet as pq

    from smotext_ray.corpus.demo import load_dataset

    rows = load_dataset("reuters-r8").slice(0, sizes["corpus"])
    labels = rows["label"].to_pylist()
    counts = Counter({label: n for label, n in Counter(labels).items() if n > FEWEST})
    pq.write_table(rows.filter([label in counts for label in labels]), home / "corpus.parquet")
    return home / "corpus.parquet", counts


def _sizes(toy: bool) -> dict[str, int]:
    return TOY if toy else SIZES


def decoder(toy: bool, home: Path) -> dict[str, Any]:
    """Tokens per second of what an actor holds."""
    from smotext_ray.models.load import load_decoder

    sizes = _sizes(toy)
    config, points = _points(sizes)
    started = time.monotonic()
    held = load_decoder(config)
    held.decode(points[:8], range(8))
    ready = time.monotonic()
    made = held.decode(points, range(len(points)))
    seconds = time.monotonic() - ready
    tokens = sum(sum(candidates.num_tokens) for candidates in made)
    end_engine(held._engine.llm)
    return _rate(tokens / seconds, "tokens", ready - started)


def generate(toy: bool, home: Path) -> dict[str, Any]:
    """Tokens per second of Hugging Face."""
    import torch
    from decode import generated_tokens, generation, soft_prompts
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from smotext_ray.models.files import locate_model
    from smotext_ray.models.load import load_bridge
    from smotext_ray.models.served_llm import merged_llm
    from smotext_ray.utils.cpu import cpu_dtype

    sizes = _sizes(toy)
    config, points = _points(sizes)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    started = time.monotonic()
    bridge, lora = load_bridge(config.bridge.path)
    assert lora is not None  # the default bridge has some
    llm = merged_llm(locate_model(config.decoder.model).path, lora)
    tokenizer = AutoTokenizer.from_pretrained(llm)
    dtype = torch.bfloat16 if device == "cuda" else getattr(torch, cpu_dtype())
    model = AutoModelForCausalLM.from_pretrained(llm, dtype=dtype).to(device).eval()
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
    return _rate(tokens / seconds, "tokens", ready - started)


def _points(sizes: dict[str, int]) -> tuple[Any, np.ndarray]:
    """The offline preset, and points halfway between neighboring rows of R8."""
    from smotext_ray.config.load import load_config

    config = load_config("offline", options={"decoder.num_candidates": 1})
    x = _encoder("float32").encode(_texts(sizes["points"]))
    points = (x + np.roll(x, 1, axis=0)) / 2
    return config, points / np.linalg.norm(points, axis=1, keepdims=True)


def _texts(number: int) -> list[str]:
    from smotext_ray.corpus.demo import load_dataset

    texts = load_dataset("reuters-r8")["text"].to_pylist()
    return [str(text) for text in (texts * (number // len(texts) + 1))[:number]]


def _encoder(dtype: str) -> Any:
    from smotext_ray.config.load import load_config
    from smotext_ray.models.encoder import Encoder
    from smotext_ray.models.files import locate_model

    settings = load_config("offline").encoder
    return Encoder(locate_model(settings.model).path, dtype=dtype)


def encode_in_float32(toy: bool, home: Path) -> dict[str, Any]:
    """Texts per second."""
    return _encode(toy, "float32")


def encode_in_bfloat16(toy: bool, home: Path) -> dict[str, Any]:
    """Texts per second."""
    return _encode(toy, "bfloat16")


def _encode(toy: bool, dtype: str) -> dict[str, Any]:
    texts = _texts(_sizes(toy)["texts"])
    started = time.monotonic()
    encoder = _encoder(dtype)
    encoder.encode(texts[:64])
    ready = time.monotonic()
    encoder.encode(texts)
    return _rate(len(texts) / (time.monotonic() - ready), "texts", ready - started)


def search_on_gpu(toy: bool, home: Path) -> dict[str, Any]:
    """Queries per second of the bare search; on the CPU where FAISS has no GPU."""
    import faiss

    if not hasattr(faiss, "StandardGpuResources"):
        return search_on_cpu(toy, home)
    resources = faiss.StandardGpuResources()

    def search(queries: np.ndarray, base: np.ndarray) -> None:
        faiss.knn_gpu(resources, queries, base, K, metric=faiss.METRIC_INNER_PRODUCT)

    return _search(toy, search)


def search_on_cpu(toy: bool, home: Path) -> dict[str, Any]:
    """Queries per second of the bare search."""
    import faiss

    def search(queries: np.ndarray, base: np.ndarray) -> None:
        faiss.knn(queries, base, K, metric=faiss.METRIC_INNER_PRODUCT)

    return _search(toy, search)


def _search(toy: bool, search: Callable[[np.ndarray, np.ndarray], None]) -> dict[str, Any]:
    sizes, rng = _sizes(toy), np.random.default_rng(0)
    base = rng.normal(size=(sizes["base"], DIM)).astype(np.float32)
    queries = base[: sizes["queries"]]
    started = time.monotonic()
    search(queries[:32], base)
    ready = time.monotonic()
    search(queries, base)
    return _rate(len(queries) / (time.monotonic() - ready), "queries", ready - started)


def _rate(speed: float, of: str, start: float) -> dict[str, Any]:
    """A way's figures: how many per second, of what, and the seconds until it was ready."""
    line = f"{speed:,.0f} {of}/s, ready after {start:.0f} s"
    return {"line": line, "speed": speed, "of": of, "start": start}


def show_all(found: dict[str, Any]) -> None:
    """Print tables of what was measured: rates, ratios that have a target, the large LLM."""
    rates = {way: row for way, row in found.items() if "speed" in row}
    print()
    show(
        ["way", "per second", "of", "start, s"],
        [
            [way, f"{row['speed']:,.0f}", row["of"], f"{row['start']:.0f}"]
            for way, row in rates.items()
        ],
    )
    known = [each for each in TARGETS if each.ours in rates and each.theirs in rates]
    show_ratios({way: row["speed"] for way, row in rates.items()}, known)
    if "batches" in found.get("7B", {}):
        show_large(found["7B"])
