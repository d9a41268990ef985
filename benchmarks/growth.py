"""Does the driver stay small? Jobs of ever more points, each in a process of its own.

    python benchmarks/growth.py --output /tmp/growth
    python benchmarks/growth.py --output /tmp/growth --case classes --points 100000
    python benchmarks/growth.py --output /tmp/growth --case decode --points 10000 100000 1000000
    python benchmarks/growth.py --output /tmp/growth --case embed --points 100000 1000000 10000000

Random unit vectors of 384 numbers stand for the corpus, so no model is loaded. `points`: 100,000
rows in 20 classes whose sizes follow Zipf's law, and more and more points to plan. `big-class`: one
of two classes has 500,000 rows. `classes`: 5,000 classes of 20 rows. `decode`: the decode job with
a decoder and a gate that only pass on, so all that is left is Ray's and the files' work. `embed`:
the embed job with an encoder that only makes numbers up, on a corpus in which half a percent of the
rows are of the one class that gets points. Prints a table and writes growth-<case>.json: the
driver's peak memory (it has imported all before), that of the largest of Ray's workers, time, and
files. No other Ray may run on the machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures import save, show

from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.actors import EncodeActor
from smotext_ray.pipeline.embed import rows_per_file
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import InputFacts, StageFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import new_manifest
from smotext_ray.run.reference import build_reference
from smotext_ray.tables import fixed_size_list

DIM = 384
ROWS_PER_FILE = 10_000
CASES = ("points", "big-class", "classes", "decode", "embed")
POINTS = (10_000, 100_000, 1_000_000, 2_000_000)
SHARES = {"rare": 0.005, "common": 0.595, "usual": 0.4}  # of the rows of `embed`
MIB = 1024**2


def main() -> int:
    options = _options()
    if options.child:
        job = {"decode": decode, "embed": embed}.get(options.case, plan)
        print(json.dumps(measured(job, Run(str(options.output)))))
        return 0
    found = []
    for points in options.points or POINTS:
        home = options.output / f"{options.case}-{points}"
        shutil.rmtree(home, ignore_errors=True)
        if options.case == "decode":
            from scale import write_planned  # which needs this file

            write_planned(Run(str(home)), points)
        elif options.case == "embed":
            write_corpus(Run(str(home)), points)
        else:
            sizes = class_sizes(options.case)
            write_run(Run(str(home)), sizes, in_proportion(sizes, points))
        how = ["--child", "--case", options.case, "--output", str(home)]
        command = [sys.executable, __file__, *how]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found.append({"points": points} | json.loads(said.splitlines()[-1]))
        found[-1]["embedded"] = Manifest.read(Run(str(home))).embedded_rows
        shutil.rmtree(home)
        show_found(options.case, found)
    save(options.output / f"growth-{options.case}.json", planned=found)
    return 0


def class_sizes(case: str) -> list[int]:
    """Rows of each class."""
    if case == "big-class":
        return [500_000, 100_000]
    if case == "classes":
        return [20] * 5_000
    weights = 1 / np.arange(1, 21)
    return [max(50, int(size)) for size in 100_000 * weights / weights.sum()]


def write_run(run: Run, sizes: list[int], more: list[int]) -> None:
    """An embedded run, with a given number of points per class to plan."""
    labels = [f"class-{number:05d}" for number in range(len(sizes))]
    directory = run.make("embeddings")
    for number, table in enumerate(_tables(labels, sizes)):
        pq.write_table(table, f"{directory}/part-{number:05d}.parquet")
    build_reference(run, labels)
    counts = dict(zip(labels, sizes, strict=True))
    final = {label: counts[label] + new for label, new in zip(labels, more, strict=True) if new}
    config = RunConfig.model_validate({"plan": {"sampling_strategy": final}})
    facts = InputFacts(rows=sum(sizes), class_counts=counts)
    manifest = new_manifest(config, {}, datetime.now(UTC).isoformat(), facts)
    manifest.stages = {name: StageFacts(seconds=0.0) for name in ("corpus", "embed", "reference")}
    manifest.save(run)


def write_corpus(run: Run, rows: int) -> None:
    """A run whose corpus is staged; the class "rare" is to get a text more."""
    config = RunConfig()
    rng, labels, counts = np.random.default_rng(0), np.array([*SHARES]), Counter[str]()
    directory, step = run.make("corpus"), rows_per_file(config, rows)
    for number, start in enumerate(range(0, rows, step)):
        ids = np.arange(start, min(start + step, rows))
        own = rng.choice(labels, size=len(ids), p=[*SHARES.values()])
        texts = [
            f"text number {i} of the class {c}, some words long"
            for i, c in zip(ids, own, strict=True)
        ]
        counts.update(own.tolist())
        table = pa.table({"id": ids, "text": texts, "label": own})
        pq.write_table(table, f"{directory}/part-{number:05d}.parquet")
    config = RunConfig.model_validate({"plan": {"sampling_strategy": {"rare": counts["rare"] + 1}}})
    facts = InputFacts(rows=rows, class_counts=dict(counts), files=number + 1)
    manifest = new_manifest(config, {}, datetime.now(UTC).isoformat(), facts)
    manifest.stages = {"corpus": StageFacts(seconds=0.0)}
    manifest.save(run)


def in_proportion(sizes: list[int], points: int) -> list[int]:
    """New points of each class, in proportion to its size, ``points`` in all."""
    ends = np.floor(np.cumsum(sizes) / sum(sizes) * points).astype(int)
    return [int(number) for number in np.diff(ends, prepend=0)]


def _tables(labels: list[str], sizes: list[int]) -> Iterator[pa.Table]:
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    names = np.array(labels)
    for start in range(0, len(codes), ROWS_PER_FILE):
        part = codes[start : start + ROWS_PER_FILE]
        x = rng.normal(size=(len(part), DIM)).astype(np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        ids = np.arange(start, start + len(part))
        yield pa.table(
            {
                "id": ids,
                "text": [f"text number {i}" for i in ids],
                "label": names[part],
                "embedding": fixed_size_list(x),
            }
        )


def measured(job: Callable[[Run], list[str]], run: Run) -> dict[str, Any]:
    """Do a job that returns its files; what it took of this process, the driver."""
    from smotext_ray.cluster import session
    from smotext_ray.pipeline import plan as plan_module  # noqa: F401 - before the memory is looked at

    session.connect()
    before = _peak_mib("self")
    started = time.monotonic()
    with workers_watched() as worker_mib:
        files = job(run)
    return {
        "driver_mib_before": before,
        "driver_mib": _peak_mib("self"),
        "worker_mib": max(worker_mib),
        "seconds": time.monotonic() - started,
        "files": len(files),
        "gib": sum(Path(file).stat().st_size for file in files) / 1024**3,
    }


def plan(run: Run) -> list[str]:
    """Plan the run's round."""
    from smotext_ray.pipeline import plan as plan_module

    manifest = Manifest.read(run)
    plan_module.plan(manifest.config, run, manifest)
    return list(run.table("plan", "round-1").files)


def decode(run: Run) -> list[str]:
    """Decode the run's plan with actors that only pass on."""
    import scale

    config = Manifest.read(run).config
    scale.decode(config, run, run.table("plan").count_rows(), scale.WAITING, seconds=0.0)
    return list(run.table("samples").files)


def embed(run: Run) -> list[str]:
    """Choose the run's rows, embed them and build the reference."""
    from smotext_ray.pipeline.actors import Actors
    from smotext_ray.pipeline.embed import embed_corpus
    from smotext_ray.pipeline.on_ray import OnRay
    from smotext_ray.pipeline.preflight import Opened

    manifest = Manifest.read(run)
    opened = Opened(run, manifest.config, {}, manifest, None)
    embed_corpus(opened, OnRay(Actors(encode=InventingEncoder)))
    return list(run.table("embeddings").files)


class InventingEncoder(EncodeActor):
    """Embeds texts as random numbers, which takes no time."""

    dim = DIM

    def load_encoder(self, config: RunConfig) -> Any:
        return self

    def encode(self, texts: list[str], batch_size: int) -> np.ndarray:
        return np.random.default_rng(len(texts)).normal(size=(len(texts), DIM)).astype(np.float32)


@contextmanager
def workers_watched() -> Iterator[list[float]]:
    """Peaks of all processes of Ray that were seen meanwhile, looked at ten times a second."""
    peaks, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError, ValueError):  # it has ended
                    if (process / "cmdline").read_bytes().startswith(b"ray::"):
                        peaks.append(_peak_mib(process.name))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def _peak_mib(pid: str) -> float:
    # getrusage would report the parent's peak if it was larger.
    status = Path("/proc", pid, "status").read_text().splitlines()
    (line,) = [line for line in status if "VmHWM" in line]
    return int(line.split()[1]) * 1024 / MIB


def show_found(case: str, found: list[dict[str, Any]]) -> None:
    """Print the table so far."""
    print(f"\n{case}\n")
    show(
        [
            "rows" if case == "embed" else "points",
            "embedded",
            "driver's peak, MiB",
            "of that, the job",
            "largest worker",
            "seconds",
            "per second",
            "files",
            "GiB",
        ],
        [
            [
                f"{row['points']:,}",
                f"{row['embedded']:,}",
                f"{row['driver_mib']:.0f}",
                f"{row['driver_mib'] - row['driver_mib_before']:.0f}",
                f"{row['worker_mib']:.0f}",
                f"{row['seconds']:.0f}",
                f"{row['points'] / row['seconds']:,.0f}",
                row["files"],
                f"{row['gib']:.2f}",
            ]
            for row in found
        ],
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", required=True, type=Path, help="for the runs, which are removed"
    )
    parser.add_argument("--case", choices=CASES, default="points")
    parser.add_argument("--points", type=int, nargs="*", help=f"default {POINTS}")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
