"""Do the defaults keep the GPUs of a cluster busy? The decode job on GPUs that are only counted.

    python benchmarks/simulated_gpus.py --output /tmp/simulated --gpus 1 8 64

Ray is told of that many GPUs, and the job makes its pools, shares and blocks as it would of real
ones. What a decoder or a gate would compute on a GPU, it waits, while it holds the lock of that
GPU's file: so a decoder and the gate on its GPU take turns. What a gate computes on its core, it
waits too, for on a cluster that core is another machine's. This machine's cores do the rest, Ray's
own work; for many GPUs all waiting takes `--slower` times as long, and the driver's time is told
against the cluster's clock.

Two shapes, by how fast an H200 might be with them (estimates, nothing was measured on a GPU):

- `small`: the preset `offline`, 135M parameters: a step of 256 texts in 4 ms; its encoder reads
  5,000 texts/s.
- `7b`: the preset `xrag-7b`: a step of 256 texts in 8 ms; its encoder, as large, reads 280 texts/s.

Prints, from the first block of the last decoder to begin until three quarters of the blocks are
written: `GPUs busy`, of it `decoders` and `gates`. Over all of the job: `samples/s`, and `driver
busy` at the cluster's pace; the driver's executor is one thread.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from figures import save, show
from scale import cpu_seconds, decode, pass_all, write_planned

from smotext_ray.cluster.gpus import reserved_gpus
from smotext_ray.pipeline.actors import Actors, GateActor

SLICE = 0.05  # seconds that one of those who share a GPU has it at a time
CPUS_A_GPU = 16
DIM = 16  # of the points: what they weigh in messages is not looked at


@dataclass(frozen=True)
class Shape:
    """Two models, and what they take of a GPU.

    Attributes
    ----------
    llm_bytes : int
        Weights, by which the job sizes its blocks.
    max_tokens : int
        As the preset has it.
    decode, encode : float
        Seconds of a GPU per row of four candidates.
    judge : float
        Seconds of the gate's core per row: 22 ms for 64 rows were measured on an AMD EPYC.
    gpus_per_encoder : float
        As the preset has it.
    """

    llm_bytes: int
    max_tokens: int
    decode: float
    encode: float
    judge: float = 0.022 / 64
    gpus_per_encoder: float = 0.25


CANDIDATES = 4
SHAPES = {
    "small": Shape(270_000_000, 96, CANDIDATES * 32 * 0.004 / 256, CANDIDATES / 5_000),
    "7b": Shape(
        14_500_000_000, 192, CANDIDATES * 64 * 0.008 / 256, CANDIDATES / 280, gpus_per_encoder=1.0
    ),
}


def main() -> int:
    options = _options()
    if options.child:
        print(json.dumps(simulate(options.child, options.shapes[0], options)))
        return 0
    found = []
    for shape in options.shapes:
        for gpus in options.gpus:
            how = ["--shapes", shape, "--child", str(gpus), "--slower", str(options.slower)]
            command = [sys.executable, __file__, "--output", str(options.output), *how]
            command += ["--blocks", str(options.blocks)]
            said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found.append(json.loads(next(x for x in said.splitlines() if x.startswith("{"))))
            show_found(found)
    save(options.output / "simulated_gpus.json", slower=options.slower, simulated=found)
    return 0


def simulate(gpus: int, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Decode some blocks per decoder; how busy all were."""
    import ray

    from smotext_ray.cluster import pools, session
    from smotext_ray.cluster.ray_data import MOST_BLOCKS
    from smotext_ray.config.schema import RunConfig
    from smotext_ray.pipeline import decode as decode_module
    from smotext_ray.run.directory import Run

    shape, slower = SHAPES[name], options.slower
    home = options.output / f"{name}-{gpus}"
    shutil.rmtree(home, ignore_errors=True)
    decode_module.weight_bytes = lambda spec: shape.llm_bytes
    config = RunConfig.model_validate(
        {
            "decoder": {"num_candidates": CANDIDATES, "max_tokens": shape.max_tokens},
            "resources": {"gpus_per_encoder": shape.gpus_per_encoder},
        }
    )
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    # A hundred processes that start at once keep the node from answering for a while.
    os.environ |= {
        "RAY_health_check_timeout_ms": "120000",
        "RAY_health_check_failure_threshold": "20",
    }
    ray.init(
        address="local",
        num_cpus=CPUS_A_GPU * gpus,
        num_gpus=gpus,
        _memory=gpus * 64 * 1024**3,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
    )
    decoders, gates = pools.decoder_pools(session.connect(), config, MOST_BLOCKS)
    rows = decode_module.rows_per_block(config, decoders)
    run = Run(str(home / "run"))
    (home / "gpus").mkdir(parents=True)
    points = decoders.actors * options.blocks * rows
    write_planned(run, points, points, dim=DIM)
    before, own = cpu_seconds(), time.process_time()
    settings = [name, slower, str(home)]
    actors = Actors(
        decode=partial(SimulatedDecoder, settings), gate=partial(SimulatedGate, settings)
    )
    decode(config, run, points, actors)
    written = sorted(file.stat().st_mtime for file in Path(run.at("samples")).glob("*.parquet"))
    begin, end = last_begun(home / "gpus"), written[3 * len(written) // 4]
    busy = {kind: busy_share(home / "gpus", kind, begin, end, gpus) for kind in ("decode", "gate")}
    driver = (time.process_time() - own) / len(written)
    blocks_a_second = len(written) / (written[-1] - begin)
    shutil.rmtree(home)
    return {
        "shape": name,
        "gpus": gpus,
        "decoders": decoders.actors,
        "gates": gates.actors,
        "rows": rows,
        "blocks": len(written),
        "decode_busy": busy["decode"],
        "gate_busy": busy["gate"],
        "samples_a_second": blocks_a_second * rows * slower,
        "driver_seconds": driver,
        "driver_busy": blocks_a_second * slower * driver,
        "all_seconds": (cpu_seconds() - before) / len(written),
    }


class Gpu:
    """The GPU of an actor: a file, which one at a time holds the lock of.

    Parameters
    ----------
    home : str
    kind : str
        Who holds it.
    """

    def __init__(self, home: str, kind: str) -> None:
        (gpu,) = reserved_gpus()
        self._lock = f"{home}/gpus/{gpu}.lock"
        self._log = f"{home}/gpus/{gpu}-{kind}-{os.getpid()}.jsonl"
        self._writing = threading.Lock()

    def compute(self, seconds: float) -> None:
        """Hold the GPU for so long, in turns with others."""
        held = []
        with open(self._lock, "a") as lock:
            while seconds > 0:
                fcntl.flock(lock, fcntl.LOCK_EX)
                began = time.time()
                time.sleep(min(SLICE, seconds))
                ended = time.time()
                fcntl.flock(lock, fcntl.LOCK_UN)
                seconds -= SLICE
                held.append([began, ended])
        with self._writing, open(self._log, "a") as log:
            log.write(json.dumps(held) + "\n")


class SimulatedDecoder:
    """A text per point, after the time that its GPU takes for all candidates."""

    def __init__(self, settings: list[Any], config: Any, counter: Any, points: int) -> None:
        name, self.slower, home = settings
        self.shape = SHAPES[name]
        self.gpu = Gpu(home, "decode")

    def __call__(self, table: pa.Table) -> pa.Table:
        self.gpu.compute(len(table) * self.shape.decode * self.slower)
        texts = pa.array([["a text"]] * len(table), pa.list_(pa.string()))
        return table.append_column("texts", texts)


class SimulatedGate(GateActor):
    """A gate that accepts every text, after the time that its GPU and its core take."""

    def __init__(
        self,
        settings: list[Any],
        config: Any,
        run_uri: str,
        labels: list[Any],
        label_type: Any,
        counter: Any,
    ) -> None:
        name, self.slower, home = settings
        self.shape = SHAPES[name]
        self.gpu = Gpu(home, "gate")
        self.label_type = label_type
        self.counter = counter

    def __call__(self, table: pa.Table) -> pa.Table:
        if len(table):
            self.gpu.compute(len(table) * self.shape.encode * self.slower)
            time.sleep(len(table) * self.shape.judge * self.slower)
        return pass_all(self.label_type, table)


def last_begun(directory: Path) -> float:
    """When the last decoder began its first block."""
    logs = directory.glob("*-decode-*.jsonl")
    return max(json.loads(log.read_text().partition("\n")[0])[0][0] for log in logs)


def busy_share(directory: Path, kind: str, begin: float, end: float, gpus: int) -> float:
    """Of the time of all GPUs between two times, what was held by this kind."""
    held = 0.0
    for log in directory.glob(f"*-{kind}-*.jsonl"):
        for line in log.read_text().splitlines():
            held += overlap(json.loads(line), begin, end)
    return held / (end - begin) / gpus


def overlap(spans: Iterable[tuple[float, float]], begin: float, end: float) -> float:
    """How much of these spans lies between two times."""
    return sum(max(0.0, min(stop, end) - max(start, begin)) for start, stop in spans)


def show_found(found: list[dict[str, Any]]) -> None:
    show(
        [
            *("shape", "GPUs", "decoders", "gates", "rows/block", "blocks", "GPUs busy"),
            *("decoders", "gates", "samples/s", "driver, ms/block", "driver busy"),
        ],
        [
            [
                *(row[name] for name in ("shape", "gpus", "decoders", "gates")),
                f"{row['rows']:,}",
                row["blocks"],
                f"{row['decode_busy'] + row['gate_busy']:.0%}",
                f"{row['decode_busy']:.0%}",
                f"{row['gate_busy']:.0%}",
                f"{row['samples_a_second']:,.0f}",
                f"{1000 * row['driver_seconds']:.0f}",
                f"{row['driver_busy']:.0%}",
            ]
            for row in found
        ],
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path, help="for the runs, then removed")
    parser.add_argument("--gpus", type=int, nargs="*", default=[1, 8, 64])
    parser.add_argument("--shapes", nargs="*", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--slower", type=float, default=1.0, help="times; default 1")
    parser.add_argument("--blocks", type=int, default=16, help="per decoder; default 16")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
