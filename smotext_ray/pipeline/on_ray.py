"""The stages on Ray: pools of actors that may end, and tasks."""

from __future__ import annotations

from collections.abc import Callable
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
from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.actors import Actors
from smotext_ray.pipeline.decode import decode_directory
from smotext_ray.pipeline.plan_files import write_groups
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import JobFacts
from smotext_ray.run.throughput import write_progress
from smotext_ray.utils.cpu import Dtype, cpu_dtype


class OnRay:
    """An `Executor` on the cluster of ``RAY_ADDRESS``, or on a Ray of this machine."""

    def encoder_dtype(self, config: RunConfig) -> Dtype:
        resources = session.connect()
        encoders = pools.encoder_pool(resources, config, blocks=MOST_BLOCKS)
        pools.decoder_pools(resources, config, blocks=MOST_BLOCKS)
        return "bfloat16" if encoders.gpus else cpu_dtype()

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        session.connect()
        return in_task(partial(function, **named), *arguments)

    def embed(
        self,
        config: RunConfig,
        run: Run,
        actors: Actors,
        *,
        files: list[str],
        directory: str,
        done: str,
        rows: int,
    ) -> int:
        resources = session.connect()
        pool = pools.encoder_pool(resources, config, len(files))
        there = write_progress(run, directory, footers=None).rows
        with (
            stage_progress("embed", rows, run, before=there) as counter,
            bounded_restarts(
                config.resources, lower="resources.encoder_actors", counter=counter
            ) as restarts,
        ):
            encoder = {"config": config, "counter": counter}
            columns = ["id", "text", "label"]
            corpus = read_checkpointed(run, files, len(files), columns, done, pool)
            embedded = map_blocks(
                corpus,
                **supervised(actors.encode, encoder, "encoder", restarts, config.resources),
                **pools.pool_options(pool),
            )
            write(embedded, run, directory, pool)
        return pool.actors

    def plan(
        self,
        config: RunConfig,
        run: Run,
        actor: Any,
        items: list[dict[str, str]],
        *,
        stage: str,
        rows: int,
        memory_gib: float,
        **given: Any,
    ) -> list[dict[str, str]]:
        if not memory_gib:
            with task_progress(stage, rows, run):
                light: list[dict[str, str]] = self.call(write_groups, run, config, items, **given)
            return light
        return _in_planners(config, run, actor, items, stage, rows, memory_gib, given)

    def decode(
        self,
        config: RunConfig,
        run: Run,
        actors: Actors,
        *,
        classes: list[Any],
        plan: str,
        samples: str,
        job: str,
        done: str,
        stage: str,
        points: int,
    ) -> JobFacts:
        return decode_directory(
            config,
            run,
            classes,
            plan=plan,
            samples=samples,
            job=job,
            done=done,
            stage=stage,
            points=points,
            actors=actors,
        )


ON_RAY = OnRay()


def _in_planners(
    config: RunConfig,
    run: Run,
    actor: Any,
    items: list[dict[str, str]],
    stage: str,
    rows: int,
    memory_gib: float,
    given: dict[str, Any],
) -> list[dict[str, str]]:
    """Write a file for each item, spread over a pool of planners."""
    import ray

    resources = session.connect()
    pool = pools.planner_pool(resources, config, len(items), memory_gib)
    with (
        stage_progress(stage, rows, run) as counter,
        bounded_restarts(config.resources, counter=counter) as restarts,
    ):
        planner = {"config": config, "run_uri": run.address, "counter": counter, **given}
        set_up_data(None, None)
        written = (
            ray.data.from_items(items, override_num_blocks=len(items))
            .map(
                **supervised(actor, planner, "planner", restarts, config.resources),
                **pools.pool_options(pool),
            )
            .take_all()  # one row a file
        )
    return sorted(written, key=lambda row: row["file"])
