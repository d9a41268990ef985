"""The stages on Ray: pools of actors that may crash, and tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from smotext_ray.cluster import pools, session
from smotext_ray.cluster.progress import stage_progress, task_progress
from smotext_ray.cluster.ray_data import (
    MOST_BLOCKS,
    in_task,
    map_blocks,
    read_checkpointed,
    set_up_data,
    write,
)
from smotext_ray.cluster.restarts import bounded_restarts, supervised
from smotext_ray.cluster.trainer import in_trainer
from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.actors import REAL, Actors
from smotext_ray.pipeline.decode import decode_directory
from smotext_ray.pipeline.jobs import DecodeJob, EmbedJob, PlanJob
from smotext_ray.pipeline.plan_files import write_groups
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import JobFacts
from smotext_ray.run.throughput import write_progress
from smotext_ray.utils.cpu import Dtype, cpu_dtype


@dataclass(frozen=True)
class OnRay:
    """An `Executor` on the cluster at ``RAY_ADDRESS``, or on a local Ray."""

    actors: Actors = REAL

    def encoder_dtype(self, config: RunConfig) -> Dtype:
        resources = session.connect(config.resources.gpu_type)
        encoders = pools.encoder_pool(resources, config, blocks=MOST_BLOCKS)
        pools.decoder_pools(resources, config, blocks=MOST_BLOCKS)
        return "bfloat16" if encoders.gpus else cpu_dtype()

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        session.connect()
        return in_task(partial(function, **named), *arguments)

    def embed(self, config: RunConfig, run: Run, job: EmbedJob, done: str) -> int:
        resources = session.connect(config.resources.gpu_type)
        pool = pools.encoder_pool(resources, config, len(job.files))
        there = write_progress(run, job.directory, footers=None).rows
        with (
            stage_progress("embed", job.rows, run, before=there) as counter,
            bounded_restarts(
                config.resources, lower="resources.encoder_actors", counter=counter
            ) as restarts,
        ):
            encoder = {"config": config, "counter": counter}
            columns = ["id", "text", "label"]
            corpus = read_checkpointed(run, job.files, len(job.files), columns, done, pool)
            embedded = map_blocks(
                corpus,
                **supervised(self.actors.encode, encoder, "encoder", restarts, config.resources),
                **pools.pool_options(pool),
            )
            write(embedded, run, job.directory, pool)
        return pool.actors

    def adapt(self, config: RunConfig, run: Run, rows: int) -> dict[str, Any]:
        resources = session.connect(config.resources.gpu_type)
        with stage_progress("adapt", rows, run) as counter:
            found: dict[str, Any] = in_trainer(
                partial(self.actors.adapt, config=config, run_uri=run.address, counter=counter),
                resources,
            )
        return found

    def plan(self, config: RunConfig, run: Run, job: PlanJob) -> list[dict[str, str]]:
        if job.memory_gib:
            return _in_planners(config, run, job)
        with task_progress(job.stage, job.rows, run):
            light: list[dict[str, str]] = self.call(
                write_groups, run, config, job.groups, **job.arguments
            )
        return light

    def decode(self, config: RunConfig, run: Run, job: DecodeJob, done: str) -> JobFacts:
        return decode_directory(config, run, job, done, self.actors.gate)


ON_RAY = OnRay()


def _in_planners(config: RunConfig, run: Run, job: PlanJob) -> list[dict[str, str]]:
    """Write one file per group, spread over a pool of planners."""
    import ray

    resources = session.connect(config.resources.gpu_type)
    pool = pools.planner_pool(resources, config, len(job.groups), job.memory_gib)
    with (
        stage_progress(job.stage, job.rows, run) as counter,
        bounded_restarts(config.resources, counter=counter) as restarts,
    ):
        planner = {"config": config, "run_uri": run.address, "counter": counter, **job.arguments}
        set_up_data(None, None)
        written = (
            ray.data.from_items(job.groups, override_num_blocks=len(job.groups))
            .map(
                **supervised(job.actor, planner, "planner", restarts, config.resources),
                **pools.pool_options(pool),
            )
            .take_all()  # one row per file
        )
    return sorted(written, key=lambda row: row["file"])
