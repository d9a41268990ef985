"""On whatever GPU there is: what this project's shapes and its engine do there.

    python benchmarks/gpu.py --part shapes --output /tmp/gpu
    python benchmarks/gpu.py --part engine --output /tmp/gpu

`shapes` needs torch, transformers and this repository, and downloads nothing, for its models are
random: about seven minutes on an H200. It measures the machine, the encoder, a 7B encoder as the
gate, training with a kill, stage 2, search, sampling, and the floor of a decoding step.

`engine` needs all that a run on a GPU needs: vLLM, Ray, FAISS and the packaged models. It runs the
demo through Ray, decodes next to Hugging Face's `generate`, searches on GPU and CPU, encodes,
and runs vLLM with the shape of a 7B LLM against the limit of memory bandwidth.

Each is measured in a process of its own, has a line of its own, and fails by itself. Figures are in
the output directory as soon as they are known, and models in a temporary one (a few GB). Without a
GPU everything runs on the CPU, which checks the script; so does `--toy`, with small sizes.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from alone import run_alone
from figures import save

ROOT = str(Path(__file__).parent.parent)


class Part(NamedTuple):
    """A function of a module, ``measure`` by default, and the seconds that it may take."""

    name: str
    module: str
    seconds: float
    function: str = "measure"


PARTS = {
    "shapes": [
        Part("environment", "gpu_shapes.environment", 60),
        Part("encoder", "gpu_shapes.encoding", 120),
        Part("gate", "gpu_shapes.gate", 180),
        Part("training", "gpu_shapes.training", 240),
        Part("tuning", "gpu_shapes.tuning", 60),
        Part("search", "gpu_shapes.search", 90),
        Part("sampling", "gpu_shapes.sampling", 90),
        Part("decode step", "gpu_shapes.decode_step", 60),
    ],
    "engine": [
        Part("demo", "gpu_engine", 1800, "demo"),
        Part("decoder", "gpu_engine", 900, "decoder"),
        Part("generate", "gpu_engine", 900, "generate"),
        Part("FAISS, GPU", "gpu_engine", 300, "search_on_gpu"),
        Part("FAISS, CPU", "gpu_engine", 600, "search_on_cpu"),
        Part("encoder, float32", "gpu_engine", 300, "encode_in_float32"),
        Part("encoder, bfloat16", "gpu_engine", 300, "encode_in_bfloat16"),
        Part("7B", "gpu_large_llm", 900, "large_shape"),
    ],
}
TOY_PATIENCE = 10  # a busy laptop is no GPU
# What an engine imports, and how it starts its own process, must be as in an actor.
START = {"shapes": "forkserver", "engine": "spawn"}


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end what was started, on the way
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # of all that is loaded below
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Whether there is a GPU must not begin CUDA in the process that the others are forked from.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    options.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    failed = 0
    for part in PARTS[options.part]:
        if options.only and part.name not in options.only:
            continue
        began = time.monotonic()
        limit = part.seconds * (TOY_PATIENCE if options.toy else 1)
        with tempfile.TemporaryDirectory() as home:
            given = (part, options.toy, Path(home))
            outcome = run_alone(measure, given, limit, START[options.part])
        took = time.monotonic() - began
        failed += bool(outcome.error)
        line = f"FAILED: {outcome.error}" if outcome.error else outcome.value.pop("line")
        print(f"{part.name} ({took:.0f} s): {line}", flush=True)
        found[part.name] = {"error": outcome.error} if outcome.error else outcome.value
        save(options.output / f"{options.part}.json", found=found, toy=options.toy)
    if options.part == "engine":
        from gpu_engine import show_all

        show_all(found)
    return 1 if failed else 0


def measure(part: Part, toy: bool, home: Path) -> dict[str, Any]:
    """In the process of the part: what it needs is imported there alone."""
    sys.path.append(ROOT)  # for smotext_ray, where it is not installed
    function = getattr(importlib.import_module(part.module), part.function)
    figures: dict[str, Any] = function(toy, home)
    return figures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", required=True, choices=list(PARTS))
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--toy", action="store_true", help="small sizes, to check the script")
    names = [part.name for parts in PARTS.values() for part in parts]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="these alone")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
