"""Encoding: our encoders against `SentenceTransformer.encode` with the same model.

    python benchmarks/encode.py --output /tmp/encode

The first texts of Reuters R8, whose lengths differ much, in batches of 64, at most 128 tokens each.
Each way has all cores: in one process with a thread a core, or in one process a core with one
thread each, as the embed job has them. Every way loads its model first and encodes 64 texts; then
all ways take turns, and the best of three counts. The vectors are compared with
SentenceTransformer's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 64
TOKENS = 128
THEIRS = "SentenceTransformer"
TARGETS = [("actors", THEIRS, 1.3), ("encoder", THEIRS, 1.0)]


def main() -> int:
    options = _options()
    cores = len(os.sched_getaffinity(0))
    ways = {
        THEIRS: Way("theirs", "float32", 1, cores),
        "encoder": Way("ours", "float32", 1, cores),
        "actors": Way("ours", "float32", cores, 1),
        "encoder, bfloat16": Way("ours", "bfloat16", 1, cores),
        "actors, bfloat16": Way("ours", "bfloat16", cores, 1),
    }
    texts = first_texts(options.rows)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    vectors: dict[str, np.ndarray] = {}
    for _ in range(3):
        for name, way in ways.items():
            taken, vectors[name] = way.encode(texts)
            seconds[name].append(taken)
    for way in ways.values():
        way.end()
    reached = {
        name: {
            "texts_a_second": len(texts) / min(times),
            "least_cosine": float((vectors[name] * vectors[THEIRS]).sum(1).min()),
        }
        for name, times in seconds.items()
    }
    show(reached)
    options.output.mkdir(parents=True, exist_ok=True)
    content = {"rows": len(texts), "seconds": seconds, "reached": reached}
    (options.output / "encode.json").write_text(json.dumps(content, indent=1) + "\n")
    return 0


def first_texts(rows: int) -> list[str]:
    """Of Reuters R8."""
    from smotext_ray.datasets import load_dataset

    return [str(text) for text in load_dataset("reuters-r8")["text"].slice(0, rows).to_pylist()]


class Way:
    """Processes that hold a model and encode a share of the texts each."""

    def __init__(self, kind: str, dtype: str, processes: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of the processes that are started now
        self.pipes, self.processes = [], []
        for _ in range(processes):
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(kind, dtype, threads, theirs))
            process.start()
            self.pipes.append(mine)
            self.processes.append(process)
        for pipe in self.pipes:
            pipe.recv()

    def encode(self, texts: list[str]) -> tuple[float, np.ndarray]:
        """Seconds until the last process is done, and the vectors."""
        n = len(self.pipes)
        started = time.monotonic()
        for number, pipe in enumerate(self.pipes):
            pipe.send(texts[number::n])
        parts = [pipe.recv() for pipe in self.pipes]
        seconds = time.monotonic() - started
        vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
        for number, part in enumerate(parts):
            vectors[number::n] = part
        return seconds, vectors

    def end(self) -> None:
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.send(None)
            process.join()


def _serve(kind: str, dtype: str, threads: int, pipe: Any) -> None:
    import torch

    torch.set_num_threads(threads)
    encode = {"ours": ours, "theirs": theirs}[kind](dtype)
    encode(first_texts(BATCH))
    pipe.send("ready")
    while (texts := pipe.recv()) is not None:
        pipe.send(encode(texts))


Encode = Callable[[list[str]], np.ndarray]


def ours(dtype: str) -> Encode:
    from smotext_ray.config import load_config
    from smotext_ray.encoder import Encoder
    from smotext_ray.models import locate_model

    model = locate_model(load_config("offline").encoder.model).path
    encoder = Encoder(model, max_length=TOKENS, dtype=dtype)
    return lambda texts: encoder.encode(texts, BATCH)


def theirs(dtype: str) -> Encode:
    from sentence_transformers import SentenceTransformer, models

    from smotext_ray.config import load_config
    from smotext_ray.models import locate_model

    path = locate_model(load_config("offline").encoder.model).path
    words = models.Transformer(path, max_seq_length=TOKENS)
    pooling = models.Pooling(words.get_word_embedding_dimension())
    model = SentenceTransformer(modules=[words, pooling, models.Normalize()], device="cpu")
    return lambda texts: np.asarray(model.encode(texts, batch_size=BATCH))


def show(reached: dict[str, dict[str, float]]) -> None:
    """Print the ways, and what they reach beside what they are to reach."""
    print("\n| way | texts/s | least cosine |\n|---|---|---|")
    for name, row in reached.items():
        print(f"| {name} | {row['texts_a_second']:.0f} | {row['least_cosine']:.5f} |")
    print("\n| ratio | reached | target |\n|---|---|---|")
    for name, other, target in TARGETS:
        ratio = reached[name]["texts_a_second"] / reached[other]["texts_a_second"]
        print(f"| {name} / {other} | {ratio:.2f} | {target:g} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--rows", type=int, default=1024)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
