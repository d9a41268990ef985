"""The whole: `smotext augment` on Reuters R8, and the same stages without Ray and files.

    python benchmarks/whole.py --output /tmp/whole

The six small classes of R8 are raised to one size, 2,000 new texts together, one text each, with
the offline preset. Then the bare stages, on the rows that the job has embedded, one after the
other, in one process per core as the job has them, on tables in memory: the actors' own classes,
without Ray, without files, and all rows at once. Each has its start (imports and models) and its
work. The job's overhead is what it takes beyond their sum. `first sample` is from the command to
the first file of samples; a second command asks for 64 texts from 400 rows, for what of it is the
corpus's size.
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

import pyarrow as pa
import pyarrow.dataset as ds
from figures import Target, save, show, show_ratios
from workers import Work, Workers

SAMPLES = 2000
SMALL_ROWS, SMALL_SAMPLES = 400, 64
MOST_SMALL_CLASS = 300  # rows; R8's six small classes have fewer
TARGETS = [
    Target("job", "bare stages", 1.15, is_most=True),
    Target("first sample", "a minute", 1.0, is_most=True),
    Target("first sample, 400 rows", "a minute", 1.0, is_most=True),
]


def main() -> int:
    options = _options()
    home = options.output
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    few, first_of_few = command(*small_corpus(home / "few.parquet"), home / "few")
    figures = {"first sample, 400 rows": first_of_few, "a minute": 60.0}
    found: dict[str, Any] = {"few": few}
    if options.samples:
        found |= large(home / "run", options.samples)
        figures |= found.pop("seconds")
    show(["", "s"], [[name, f"{seconds:.1f}"] for name, seconds in figures.items()])
    ratios = show_ratios(figures, [target for target in TARGETS if target.ours in figures])
    save(home / "whole.json", **found, seconds=figures, ratios=ratios)
    return 0


def large(home: Path, samples: int) -> dict[str, Any]:
    """The command on all of R8, by stage, compared with the bare stages."""
    rows, first = command("demo:reuters-r8", new_texts(samples), home)
    stages = bare_stages(str(home))
    job = by_stage(home) | {"all": rows}
    show(
        ["stage", "job, s", "bare: start, s", "bare: work, s"],
        [
            [name, f"{job[name]:.1f}", f"{start:.1f}", f"{work:.1f}"]
            for name, (start, work) in stages.items()
        ],
    )
    bare = sum(start + work for start, work in stages.values())
    seconds = {"job": rows, "bare stages": bare, "first sample": first}
    return {"job": job, "bare": stages, "seconds": seconds}


def new_texts(samples: int) -> dict[str, int]:
    """R8's small classes, raised to one size."""
    from smotext_ray.corpus.demo import load_dataset

    counts = load_dataset("reuters-r8")["label"].value_counts().to_pylist()
    small = {c["values"]: c["counts"] for c in counts if c["counts"] < MOST_SMALL_CLASS}
    size = (samples + sum(small.values())) // len(small)
    wanted = dict.fromkeys(small, size)
    wanted[min(small)] += samples + sum(small.values()) - size * len(small)
    return wanted


def small_corpus(file: Path) -> tuple[str, dict[str, int]]:
    """The first rows of R8, and a few more texts of one class."""
    import pyarrow.parquet as pq

    from smotext_ray.corpus.demo import load_dataset

    table = load_dataset("reuters-r8").slice(0, SMALL_ROWS)
    pq.write_table(table, file)
    labels = table["label"].to_pylist()
    return str(file), {"crude": labels.count("crude") + SMALL_SAMPLES}


def command(source: str, wanted: dict[str, int], home: Path) -> tuple[float, float]:
    """Run ``smotext augment``: seconds of it, and until the first samples are written."""
    smotext = str(Path(sys.executable).with_name("smotext"))
    arguments = ["augment", "--preset", "offline", "--input", source, "--output", str(home)]
    arguments += ["--sampling-strategy", json.dumps(wanted)]
    arguments += ["plan.max_rounds=1", "decoder.num_candidates=1"]
    started = time.time()
    code = subprocess.run([smotext, *arguments]).returncode
    ended = time.time()
    assert code in (0, 3), code  # 3: the gate let too few through for one round
    written = [file.stat().st_mtime for file in home.glob("samples/round-1/*.parquet")]
    return ended - started, min(written) - started


def by_stage(home: Path) -> dict[str, float]:
    """Seconds of the job's stages, by its manifest."""
    _, manifest = _opened(str(home))
    (round_,) = manifest.rounds
    return {
        "embed": manifest.stages["embed"].seconds,
        "plan": round_.plan_seconds,
        "decode and gate": round_.decode.seconds,
    }


def bare_stages(uri: str) -> dict[str, tuple[float, float]]:
    """Seconds of start and of work of each stage."""
    cores = len(os.sched_getaffinity(0))
    found: dict[str, tuple[float, float]] = {}

    def work(stage: str, table: pa.Table) -> pa.Table:
        workers = Workers(partial(actor, stage, uri), cores)
        shares = [table.take(list(range(i, len(table), cores))) for i in range(cores)]
        seconds, parts = workers(shares)
        workers.end()
        found[stage] = workers.start, seconds
        return pa.concat_tables(parts)

    needed = ds.dataset(f"{uri}/embeddings").to_table(columns=["id"])["id"].combine_chunks()
    embeddings = work(
        "embed", ds.dataset(f"{uri}/corpus").to_table(filter=ds.field("id").isin(needed))
    )
    started = time.monotonic()
    points = plan(uri, embeddings)
    found["plan"] = 0.0, time.monotonic() - started
    gated = work("gate", work("decode", points))
    assert len(gated) == len(points)
    (decode_start, decode), (gate_start, gate) = found.pop("decode"), found.pop("gate")
    return found | {"decode and gate": (decode_start + gate_start, decode + gate)}


def actor(stage: str, uri: str) -> Work:
    """What a job's actor holds, made in this process."""
    from smotext_ray.pipeline import actors

    run, manifest = _opened(uri)
    config = manifest.config
    if stage == "embed":
        return actors.EncodeActor(config, _NoCounter())
    if stage == "decode":
        points = manifest.rounds[0].points // len(os.sched_getaffinity(0))
        return actors.DecodeActor(config, _NoCounter(), points)
    label_type = run.table("embeddings").schema.field("label").type
    return actors.GateActor(config, uri, manifest.labels, label_type, _NoCounter())


def plan(uri: str, embeddings: pa.Table) -> pa.Table:
    """The points of all classes, from a table and into one."""
    from smotext_ray.plan.classes import read_classes, read_texts
    from smotext_ray.plan.points import plan_shard, with_texts
    from smotext_ray.plan.shards import shards

    _, manifest = _opened(uri)
    config, planned = manifest.config, manifest.rounds[0].planned
    source = ds.dataset(embeddings)
    all_shards = [shard for group in shards(planned, 1, 0, SAMPLES) for shard in group]
    classes = read_classes(source, [shard.label for shard in all_shards])
    tables = [
        plan_shard(rows, shard, config) for rows, shard in zip(classes, all_shards, strict=True)
    ]
    return with_texts(pa.concat_tables(tables), lambda rows: read_texts(source, rows))


def _opened(uri: str) -> tuple[Any, Any]:
    from smotext_ray.run.directory import Run
    from smotext_ray.run.manifest import Manifest

    run = Run(uri)
    return run, Manifest.read(run)


class _NoCounter:
    """Stands for the actor that a job's actors tell what they finish: it takes any call."""

    def __getattr__(self, name: str) -> _NoCounter:
        return self

    def remote(self, *_: Any, **__: Any) -> None:
        """Nobody asks."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path, help="for the runs")
    parser.add_argument(
        "--samples",
        type=int,
        default=SAMPLES,
        help=f"default {SAMPLES}; 0: the second command alone",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
