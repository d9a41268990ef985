"""A finished run whose texts a made-up encoder tells apart, and texts to test on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from handmade_run import build, corpus_table

from smotext_ray.run.directory import Run

WANTED = {"grain": 12, "ship": 8}
D = 6


class WordEncoder:
    """Texts on grain point one way, texts on ship another; each has a little of its own."""

    def encode(self, texts, batch_size=64):
        own = [np.random.default_rng(list(text.encode())).normal(size=D) for text in texts]
        x = 0.3 * np.array(own, np.float32).reshape(len(texts), D)
        x[:, 0] += ["grain" in text for text in texts]
        x[:, 1] += ["ship" in text for text in texts]
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def finished_run(directory: Path) -> Run:
    """Two of its 20 samples were rejected."""
    rejected = {0: "wrong_class", 1: "too_far"}
    return build(directory, WANTED, corpus=corpus_table(grain=30, ship=40), rejected=rejected)


def held_out_table(directory: Path, rows: int = 40) -> str:
    file = directory / "test.parquet"
    labels = ["grain", "ship"] * (rows // 2)
    texts = [f"unseen {i} on {label}" for i, label in enumerate(labels)]
    pq.write_table(pa.table({"body": texts, "topic": labels}), file)
    return str(file)
