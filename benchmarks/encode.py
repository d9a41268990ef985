"""Encoding: our encoders against `SentenceTransformer.encode` with the same model.

    python benchmarks/encode.py --output /tmp/encode

The first texts of Reuters R8, whose lengths differ much, in batches of 32, at most 128 tokens each.
Each way has all cores: in one process with one thread per core, or in one process per core with one
thread each, as the embed job has them. Every way loads its model first and encodes 32 texts; then
all ways take turns, and the best of three counts. The vectors are compared with
SentenceTransformer's. bfloat16 is measured where the CPU computes in it, and is `default` there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from figures import Target, save, show, show_ratios
from workers import Workers

BATCH = 32  # the default of all of them
TOKENS = 128
THEIRS = "SentenceTransformer"
TARGETS = [
    Target("actors, default", THEIRS, 1.3),
    Target("actors, float32", THEIRS, 1.3),
    Target("encoder, float32", THEIRS, 1.0),
]


def main() -> int:
    options = _options()
    from smotext_ray.utils.cpu import cpu_dtype

    cores = len(os.sched_getaffinity(0))
    ways = {THEIRS: Workers(partial(theirs, options.batch), 1, cores)}
    for dtype in dict.fromkeys(["float32", cpu_dtype()]):
        own = partial(ours, dtype, options.batch)
        ways[f"encoder, {dtype}"] = Workers(own, 1, cores)
        ways[f"actors, {dtype}"] = Workers(own, cores, 1)
    texts = first_texts(options.rows)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    vectors: dict[str, np.ndarray] = {}
    for _ in range(3):
        for name, way in ways.items():
            n = way.processes
            taken, parts = way([texts[start::n] for start in range(n)])
            seconds[name].append(taken)
            vectors[name] = np.empty((len(texts), parts[0].shape[1]), np.float32)
            for start, part in enumerate(parts):
                vectors[name][start::n] = part
    for way in ways.values():
        way.end()
    speed = {name: len(texts) / min(times) for name, times in seconds.items()}
    cosine = {name: float((x * vectors[THEIRS]).sum(1).min()) for name, x in vectors.items()}
    show(
        ["way", "texts/s", "least cosine"],
        [[name, f"{speed[name]:.0f}", f"{cosine[name]:.5f}"] for name in ways],
    )
    default = {"actors, default": speed[f"actors, {cpu_dtype()}"]}
    ratios = show_ratios(speed | default, TARGETS)
    figures = {"seconds": seconds, "texts_a_second": speed, "least_cosine": cosine}
    save(options.output / "encode.json", rows=len(texts), ratios=ratios, **figures)
    return 0


def first_texts(rows: int) -> list[str]:
    """Of Reuters R8."""
    from smotext_ray.corpus.demo import load_dataset

    return [str(text) for text in load_dataset("reuters-r8")["text"].slice(0, rows).to_pylist()]


Encode = Callable[[list[str]], np.ndarray]


def ours(dtype: str, batch: int) -> Encode:
    from smotext_ray.config.load import load_config
    from smotext_ray.models.encoder import Encoder
    from smotext_ray.models.files import locate_model

    model = locate_model(load_config("offline").encoder.model).path
    encoder = Encoder(model, max_length=TOKENS, dtype=dtype)
    encoder.encode(first_texts(batch))  # warm
    return lambda texts: encoder.encode(texts, batch)


def theirs(batch: int) -> Encode:
    from sentence_transformers import SentenceTransformer, models

    from smotext_ray.config.load import load_config
    from smotext_ray.models.files import locate_model

    path = locate_model(load_config("offline").encoder.model).path
    words = models.Transformer(path, max_seq_length=TOKENS)
    pooling = models.Pooling(words.get_embedding_dimension())
    model = SentenceTransformer(modules=[words, pooling, models.Normalize()], device="cpu")
    model.encode(first_texts(batch))  # warm
    return lambda texts: np.asarray(model.encode(texts, batch_size=batch))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=BATCH, help=f"texts; default {BATCH}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
