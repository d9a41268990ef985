"""Seconds until an engine's first block of texts is done, on a CPU.

    python benchmarks/first_texts.py --output /tmp/first

Four blocks of 32 new texts of Reuters R8 are asked of one engine at once, as an actor of the job
does, with the offline preset: all texts in progress from the start, and with the later blocks
waiting for the first, as our engine has it. The same points and seeds, in turn, each twice; the
lesser time of each.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
from decode import make_plan
from figures import Target, save, show, show_ratios

BLOCKS, BLOCK = 4, 32
WAYS = ("at once", "first block first")
REPEATS = 2


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path, help="for first_texts.json")
    home = parser.parse_args().output
    os.environ["OMP_NUM_THREADS"] = "1"
    run = str(home / "run")
    make_plan(run, home / "corpus.parquet", BLOCKS * BLOCK)
    found = measure(run)
    show(
        ["way", "first block, s", "all, s", "tokens/s"],
        [
            [way, f"{first:.1f}", f"{whole:.1f}", f"{tokens / whole:.0f}"]
            for way, (first, whole, tokens) in found.items()
        ],
    )
    figures = {f"first, {way}": first for way, (first, _, _) in found.items()}
    figures |= {f"all, {way}": whole for way, (_, whole, _) in found.items()}
    targets = [
        Target("first, first block first", "first, at once", 0.5, is_most=True),
        Target("all, first block first", "all, at once", 1.2, is_most=True),
    ]
    ratios = show_ratios(figures, targets)
    save(home / "first_texts.json", found=found, ratios=ratios)
    return 0


def measure(uri: str) -> dict[str, tuple[float, float, int]]:
    """Of each way: seconds of the first block and of all, and tokens."""
    import pyarrow.dataset as ds

    from smotext_ray.models.engine_device import FIRST_SEQUENCES
    from smotext_ray.models.engine_loop import EngineLoop
    from smotext_ray.models.load import load_decoder
    from smotext_ray.run.directory import Run
    from smotext_ray.run.manifest import Manifest

    plan = ds.dataset(f"{uri}/plan").to_table().slice(0, BLOCKS * BLOCK)
    decoder = load_decoder(Manifest.read(Run(uri)).config)
    engine: Any = decoder._engine
    decode_blocks(decoder, plan.slice(0, BLOCK))  # whatever only happens once
    found: dict[str, tuple[float, float, int]] = {}
    for way in WAYS * REPEATS:
        most = FIRST_SEQUENCES if way == "first block first" else None
        engine._loop = EngineLoop(engine.llm, None, most)
        times = decode_blocks(decoder, plan)
        found[way] = min(times, found.get(way, times))
    return found


def decode_blocks(decoder: Any, plan: pa.Table) -> tuple[float, float, int]:
    """Decode blocks side by side: seconds until one is done, and all, and tokens."""
    from smotext_ray.pipeline.actors import decode_points

    started = time.monotonic()

    def decode(start: int) -> tuple[float, int]:
        texts = decode_points(plan.slice(start, BLOCK), decoder)
        return time.monotonic() - started, sum(sum(text.num_tokens) for text in texts)

    with ThreadPoolExecutor(BLOCKS) as threads:
        done = list(threads.map(decode, range(0, len(plan), BLOCK)))
    seconds = [second for second, _ in done]
    return min(seconds), max(seconds), sum(tokens for _, tokens in done)


if __name__ == "__main__":
    sys.exit(main())
