"""Where Ray itself becomes the limit: the decode job with decoders that only wait.

    python benchmarks/scale.py --output /tmp/scale

Each of 1, 8, 64 and 256 actors takes a fixed time a block, as a GPU would, and this machine's cores
do nothing but Ray's work: reading the plan, handing out blocks, the gate's actors (that let all
pass), writing, checkpoints, counting. All else is the decode job as it is. A process a number.

- `of ideal`: blocks a second in the middle half of the job, against what the actors could do at
  most, each with as many blocks at once as decoders have;
- `driver, ms`: CPU time of the driver's process a block. Its executor is one thread, so a second of
  it is all that a driver has a second, however large the cluster;
- `all, ms`: CPU time of all processes a block; on a cluster the other machines have their part.

Then what follows from the driver's time for GPUs, in blocks of the sizes that the job chooses for
them by an estimate of their speed. `simulated_gpus.py` runs such jobs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from figures import save, show
from growth import DIM, write_run

from smotext_ray.models.engine import Candidates
from smotext_ray.pipeline.actors import Actors, GateActor, decode_rows
from smotext_ray.tables import sample_table

ROWS_PER_BLOCK = 64
LLM_BYTES = (270_000_000, 14_500_000_000)
GPUS = (1, 8, 64, 512)


def main() -> int:
    options = _options()
    home = options.output
    if options.child:
        print(json.dumps(simulate(options.child, options.seconds, options.blocks, home)))
        return 0
    found = []
    for actors in options.actors:
        how = ["--seconds", str(options.seconds), "--blocks", str(options.blocks)]
        command = [sys.executable, __file__, "--output", str(home), "--child", str(actors), *how]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found.append(json.loads(next(x for x in said.splitlines() if x.startswith("{"))))
        show_found(found)
    show_capacity(found[-1]["driver_seconds"])
    save(home / "scale.json", seconds_a_block=options.seconds, simulated=found)
    return 0


def simulate(actors: int, seconds: float, blocks: int, home: Path) -> dict[str, Any]:
    """Decode a number of blocks per actor, and measure it."""
    import ray

    from smotext_ray.config.schema import RunConfig
    from smotext_ray.run.directory import Run

    run = Run(str(home / f"actors-{actors}"))
    shutil.rmtree(run.uri, ignore_errors=True)
    points = actors * blocks * ROWS_PER_BLOCK
    write_planned(run, points, points)
    config = RunConfig.model_validate(
        {"resources": {"decoder_actors": actors, "decode_rows_per_block": ROWS_PER_BLOCK}}
    )
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    ray.init(
        address="local",
        num_cpus=3 * actors + 8,  # as a cluster has them; the gates' and Ray Data's are among them
        _memory=actors * 8 * 1024**3,  # what the actors of the job would reserve
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
    )
    before, own, started = cpu_seconds(), time.process_time(), time.time()
    facts = decode(config, run, points, WAITING, seconds=seconds)
    assert facts["actors"] == actors, facts
    written = sorted(file.stat().st_mtime for file in Path(run.at("samples")).glob("*.parquet"))
    total = len(written)
    first, last = total // 4, 3 * total // 4
    speed = (last - first) / (written[last] - written[first])
    shutil.rmtree(run.uri)
    return {
        "actors": actors,
        "blocks": total,
        "start": written[0] - seconds - started,
        "blocks_a_second": speed,
        "of_ideal": speed * seconds / actors / config.resources.decode_blocks_in_flight,
        "driver_seconds": (time.process_time() - own) / total,
        "all_seconds": (cpu_seconds() - before) / total,
    }


def decode(config: Any, run: Any, points: int, actors: Actors, **of_decoder: Any) -> dict[str, Any]:
    """The decode job of `write_planned`, with such a decoder and gate."""
    from smotext_ray.pipeline.jobs import DecodeJob
    from smotext_ray.pipeline.on_ray import OnRay
    from smotext_ray.run.manifest import Manifest

    job = DecodeJob(
        name="decode",
        stage="decode",
        plan="plan",
        directory="samples",
        rows=points,
        labels=Manifest.read(run).labels,
        actor=actors.decode,
        arguments=of_decoder,
    )
    facts = OnRay(actors).decode(config, run, job, "checkpoints/decode")
    assert run.table("samples").count_rows() == points
    return facts.model_dump()


def write_planned(run: Any, points: int, rows_per_file: int = 20_000, dim: int = DIM) -> None:
    """A run with a given number of planned points, and only the corpus data that the job needs."""
    import pyarrow.parquet as pq

    from smotext_ray.tables import fixed_size_list, plan_schema

    write_run(run, [50, 50], [points, 0])
    rng = np.random.default_rng(0)
    schema = plan_schema(pa.int64(), pa.string(), dim)
    directory = run.make("plan")
    for file, start in enumerate(range(0, points, rows_per_file)):
        numbers = np.arange(start, min(start + rows_per_file, points))
        rows = len(numbers)
        table = pa.table(
            {
                "sample_id": numbers,
                "label": ["class-00000"] * rows,
                "source_id": numbers % 50,
                "neighbor_id": (numbers + 1) % 50,
                "lam": rng.random(rows).astype(np.float32),
                "seed": numbers,
                "round": np.ones(rows, np.int32),
                "source_text": [f"text number {i}" for i in numbers % 50],
                "neighbor_text": [f"text number {i}" for i in (numbers + 1) % 50],
                "point": fixed_size_list(rng.normal(size=(rows, dim)).astype(np.float32)),
            },
            schema=schema,
        )
        pq.write_table(table, f"{directory}/part-{file:05d}.parquet")


class WaitingDecoder:
    """A text a point, after a fixed time a block."""

    def __init__(self, config: Any, counter: Any, points: int, seconds: float) -> None:
        self.counter = counter
        self.seconds = seconds

    def __call__(self, table: pa.Table) -> pa.Table:
        time.sleep(self.seconds)
        made = [Candidates([f"a text {i}"], ["stop"], [20]) for i in range(len(table))]
        return decode_rows(table, lambda: made, self.counter)


class PassingGate(GateActor):
    """The gate without its encoder: every text is accepted."""

    def __init__(self, config: Any, run_uri: str, labels: list[Any], label_type: Any, counter: Any):
        self.gate = partial(pass_all, label_type)
        self.counter = counter


WAITING = Actors(decode=WaitingDecoder, gate=PassingGate)


def pass_all(label_type: pa.DataType, table: pa.Table) -> pa.Table:
    outcomes: list[dict[str, Any]] = [
        {"text": texts[0], "cosine_to_point": 0.5, "status": "accepted", "reason": ""}
        for texts in table["texts"].to_pylist()
    ]
    return sample_table(table, outcomes, label_type)


def cpu_seconds() -> float:
    """CPU time of this machine since it started, of all processes."""
    times = psutil.cpu_times()
    return float(times.user + times.system)


def show_found(found: list[dict[str, Any]]) -> None:
    show(
        ["actors", "blocks", "start, s", "blocks/s", "of ideal", "driver, ms", "all, ms"],
        [
            [
                f"{row['actors']:,}",
                f"{row['blocks']:,}",
                f"{row['start']:.0f}",
                f"{row['blocks_a_second']:.1f}",
                f"{row['of_ideal']:.0%}",
                f"{1000 * row['driver_seconds']:.1f}",
                f"{1000 * row['all_seconds']:.0f}",
            ]
            for row in found
        ],
    )


def show_capacity(driver_seconds: float) -> None:
    """How busy the driver is for a number of GPUs, with the block sizes that the job chooses."""
    from smotext_ray.cluster.pools import Pool
    from smotext_ray.config.schema import RunConfig
    from smotext_ray.pipeline import decode as decode_module

    rows = []
    for gpus in GPUS:
        cells = []
        for llm_bytes in LLM_BYTES:
            decode_module.weight_bytes = partial(_given, llm_bytes)
            alone = decode_module.rows_per_block(RunConfig(), Pool(1, 1.0, 1.0))  # take a second
            block = decode_module.rows_per_block(RunConfig(), Pool(gpus, 1.0, 1.0))
            speed = gpus * alone / decode_module.BLOCK_SECONDS
            cells += [f"{speed:,.0f}", f"{block:,}", f"{speed / block * driver_seconds:.0%}"]
        rows.append([f"{gpus:,}", *cells])
    head = [f"{name}, {what}" for name in ("135M", "7B") for what in ("samples/s", "rows/block")]
    busy = "driver busy"
    show(["GPUs", *head[:2], busy, *head[2:], busy], rows)


def _given(size: int, spec: str) -> int:
    return size


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path, help="for the runs, then removed")
    parser.add_argument("--actors", type=int, nargs="*", default=[1, 8, 64, 256])
    parser.add_argument("--seconds", type=float, default=4.0, help="of a block; default 4")
    parser.add_argument("--blocks", type=int, default=32, help="an actor; default 32")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
