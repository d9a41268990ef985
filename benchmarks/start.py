"""What the start of an actor costs: CPU seconds until an encoder or a decoder has loaded.

    python benchmarks/start.py --output /tmp/start

The models of the offline preset, each in a process of its own with one thread, with
`smotext_ray.cluster.worker_start` as the actors have it and without, in turn, three times; the
least of each. The first start on a machine reads files that later ones find in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from figures import save, show

KINDS = ("encoder", "decoder")
HOWS = ("plain", "quick")


def main() -> int:
    options = _options()
    if options.child:
        print(f"\n{start(*options.child)}")
        return 0
    seconds: dict[str, dict[str, list[float]]] = {kind: {how: [] for how in HOWS} for kind in KINDS}
    for _ in range(options.repeats):
        for kind in KINDS:
            for how in HOWS:
                command = [sys.executable, __file__, "--output", "", "--child", kind, how]
                said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
                seconds[kind][how].append(float(said.splitlines()[-1]))
    show(
        ["", *(f"{how}, s" for how in HOWS)],
        [[kind, *(f"{min(of[how]):.1f}" for how in HOWS)] for kind, of in seconds.items()],
    )
    save(options.output / "start.json", seconds=seconds)
    return 0


def start(kind: str, how: str) -> float:
    """Load one; CPU seconds of this process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from smotext_ray.cluster.worker_start import quick_imports
    from smotext_ray.config.load import load_config
    from smotext_ray.models.load import load_decoder, load_encoder

    config = load_config("offline", options={"input.path": "demo:reuters-r8"})
    load = {"encoder": load_encoder, "decoder": load_decoder}[kind]
    began = time.process_time()
    with quick_imports() if how == "quick" else contextlib.nullcontext():
        load(config)
    return time.process_time() - began


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path, help="for start.json")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
