"""Decoding: the decode job on Ray, for benchmarks/decode.py."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa


def measure_job(uri: str, decoders: int) -> dict[str, Any]:
    """The whole job: its warm phase begins with the first block that a decoder takes up."""
    import pyarrow.parquet as pq

    from smotext_ray.config.load import load_config
    from smotext_ray.pipeline import rounds
    from smotext_ray.run.directory import Run
    from smotext_ray.run.manifest import Manifest

    home = f"{uri}-{decoders}"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(uri, home)
    run = Run(home)
    manifest = Manifest.read(run)
    config = load_config(options={"resources.decoder_actors": decoders}, base=manifest.config)
    started = time.time()
    with first_try_seen(Path(home, "checkpoints", "decode-1-attempts")) as seen:
        rounds.decode(config, run, manifest)
    files = list(Path(home, "samples", "round-1").glob("*.parquet"))
    table = pa.concat_tables(
        pq.read_table(file, columns=["num_tokens", "cosine_to_point"]) for file in files
    )
    tokens = sum(table["num_tokens"].to_pylist())
    return {
        "speed": tokens / (max(map(os.path.getmtime, files)) - seen[0]),
        "tokens": tokens,
        "start": seen[0] - started,
        "cosine": float(np.mean(table["cosine_to_point"].to_numpy())),
    }


@contextmanager
def first_try_seen(notes: Path) -> Iterator[list[float]]:
    """When the first decoder began: it notes each block before it takes it up."""
    seen: list[float] = []

    def look() -> None:
        while not seen:
            if notes.exists() and any(notes.iterdir()):
                seen.append(time.time())
            time.sleep(0.02)

    threading.Thread(target=look, daemon=True).start()
    yield seen
