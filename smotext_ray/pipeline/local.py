"""The stages in this process: one actor of each kind, block by block, without Ray.

A block's rows are written all at once, and skipped when the job is called again.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smotext_ray.cluster.progress import Counter, log_begin, log_end
from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.actors import REAL, Actors
from smotext_ray.pipeline.jobs import DecodeJob, EmbedJob, PlanJob
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import JobFacts
from smotext_ray.tables import label_value_type
from smotext_ray.utils.bars import polled_bar
from smotext_ray.utils.cpu import Dtype

DECODE_ROWS = 2048  # per block, the unit of work lost when killed


@dataclass(frozen=True)
class Local:
    """An `Executor` in this process, for small inputs."""

    actors: Actors = REAL

    def encoder_dtype(self, config: RunConfig) -> Dtype:
        from smotext_ray.models.encoder import default_device, fastest_dtype

        return fastest_dtype(default_device())

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    def embed(self, config: RunConfig, run: Run, job: EmbedJob, done: str) -> int:
        encode: Any = None
        with _logged("embed", job.rows) as counter:
            for block in _blocks(run, job.files, done, job.id_column, ["id", "text", "label"]):
                encode = encode or self.actors.encode(config=config, counter=counter)
                _keep(run, encode(block), job.directory, job.id_column)
        return 1

    def adapt(self, config: RunConfig, run: Run, rows: int) -> dict[str, Any]:
        with _logged("adapt", rows) as counter:
            return self.actors.adapt(config=config, run_uri=run.address, counter=counter)

    def plan(self, config: RunConfig, run: Run, job: PlanJob) -> list[dict[str, str]]:
        with _logged(job.stage, job.rows) as counter:
            write = job.actor(config=config, run_uri=run.address, counter=counter, **job.arguments)
            return [write(group) for group in job.groups]

    def decode(self, config: RunConfig, run: Run, job: DecodeJob, done: str) -> JobFacts:
        started = time.monotonic()
        decode: Any = None
        gate: Any = None
        files = sorted(run.table(job.plan).files)
        with _logged(job.stage, job.rows) as counter:
            for block in _blocks(run, files, done, job.id_column, None, DECODE_ROWS):
                if gate is None:
                    decode = job.actor(
                        config=config, counter=counter, points=job.rows, **job.arguments
                    )
                    counter.follow(getattr(decode, "decoder", None))
                    gate = self.actors.gate(
                        config=config,
                        run_uri=run.address,
                        labels=job.labels,
                        label_type=label_value_type(
                            run.table("embeddings").schema.field("label").type
                        ),
                        counter=counter,
                    )
                _keep(run, gate(decode(block)), job.directory, job.id_column)
        _, tokens = counter.counter.get()
        return JobFacts(seconds=time.monotonic() - started, tokens=tokens, actors=1)


class LocalCounter:
    """A stage's counter as actors call it: ``counter.add.remote(...)``."""

    def __init__(self) -> None:
        self.counter = Counter()

        self._decoder: Any = None

    def follow(self, decoder: Any) -> None:
        """Count the decoder's points as they finish, if it reports them, as a block has many."""
        if hasattr(decoder, "finished"):
            self._decoder, self._before = decoder, decoder.finished

    def rows(self) -> int:
        """Rows so far, for a progress bar, including those decoded but not yet judged."""
        decoded = 0 if self._decoder is None else self._decoder.finished - self._before
        return max(decoded, self.counter.get()[0])

    def __getattr__(self, name: str) -> _Method:
        return _Method(getattr(self.counter, name))


class _Method:
    def __init__(self, method: Callable[..., Any]) -> None:
        self.remote = method


@contextmanager
def _logged(stage: str, rows: int) -> Iterator[LocalCounter]:
    """Log a stage in the same way as on a cluster; yields its counter."""
    counter, started = LocalCounter(), time.monotonic()
    log_begin(stage, rows, before=0)
    with polled_bar(stage, rows, counter.rows):
        yield counter
    log_end(stage, *counter.counter.get(), started)


def _blocks(
    run: Run,
    files: list[str],
    done: str,
    id_column: str,
    columns: list[str] | None,
    most: int | None = None,
) -> Iterator[pa.Table]:
    """The rows that are not done, one table per file, or several of at most ``most`` rows."""
    finished = _finished(run, done, id_column)
    for file in files:
        table = run.read_table(file, columns)
        if finished is not None:
            table = table.filter(pc.invert(pc.is_in(table[id_column], finished)))
        table = table.combine_chunks()
        for start in range(0, len(table), most or max(1, len(table))):
            yield table.slice(start, most)


def _finished(run: Run, done: str, id_column: str) -> pa.Array | None:
    if not run.has(done):
        return None
    return run.table(done).to_table(columns=[id_column])[id_column]


def _keep(run: Run, table: pa.Table, directory: str, id_column: str) -> None:
    """Write a block as a file of its own, which no other process writes."""
    if not len(table):
        return
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    # Ids may contain characters that are not allowed in file names.
    first = hashlib.sha256(repr(table[id_column][0].as_py()).encode()).hexdigest()
    name = f"block-{first[:16]}-{uuid.uuid4().hex[:12]}.parquet"
    run.write(sink.getvalue().to_pybytes(), *directory.split("/"), name)
