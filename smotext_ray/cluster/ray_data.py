"""Ray Data settings shared by all jobs: checkpointed reading, light writing, quiet output."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from smotext_ray.cluster.gpus import no_other_gpus

if TYPE_CHECKING:
    from smotext_ray.cluster.pools import Pool
    from smotext_ray.run.directory import Run


MOST_BLOCKS = 4096  # per job, and files per stage, for any number of rows
LIGHT_CPUS = 0.5  # for a reading or writing task, which waits on files rather than the CPU


def read_checkpointed(
    run: Run, files: list[str], blocks: int, columns: list[str] | None, done: str, pool: Pool
) -> Any:
    """Tables of the run as a Ray dataset with a given number of blocks, without finished rows.

    ``files`` are paths for ``run.fs``; ``done`` is the directory of the run with the ids of
    finished rows; ``pool`` processes the blocks.
    """
    import ray

    id_column = "id" if columns else "sample_id"
    set_up_data(run.make(*done.split("/")), id_column, run.fs)
    return ray.data.read_parquet(
        files,
        filesystem=run.fs,
        columns=columns,
        partitioning=None,  # a "key=value" in the run's own path is not a column
        override_num_blocks=blocks,
        num_cpus=LIGHT_CPUS,
        concurrency=_light_tasks(pool),
    )


def map_blocks(dataset: Any, **options: Any) -> Any:
    """``Dataset.map_batches`` over whole blocks, as Arrow tables, also for actors with GPUs.

    With GPUs, ``map_batches`` requires a batch size and would then merge or split blocks; but here
    a block is the unit of committing and resuming. Ray Data's ``map_groups`` has the same need and
    calls the same function.
    """
    return dataset.map_batches_internal(batch_size=None, batch_format="pyarrow", **options)


def write(dataset: Any, run: Run, directory: str, pool: Pool) -> None:
    """Execute the dataset and write its rows, which come from ``pool``, as parquet."""
    dataset.write_parquet(
        run.make(directory),
        filesystem=run.fs,
        ray_remote_args={"num_cpus": LIGHT_CPUS},
        concurrency=_light_tasks(pool),
    )


def _light_tasks(pool: Pool) -> int | None:
    """Limit of concurrent tasks that read or write blocks for a pool, or None.

    On CPU, an actor takes many times as long for a block as these tasks, and each additional
    concurrent task costs seconds to start a process while the actors load their models. A GPU might
    have to wait for them.
    """
    return None if pool.gpus else max(1, pool.actors // 2)


def surviving_actor(kind: Any) -> Any:
    """Handle of a small counter actor for a job: if its node is lost, it restarts at 0."""
    import ray

    alive = {"max_restarts": -1, "max_task_retries": -1}  # a wrong count must not stop the job
    return ray.remote(num_cpus=0, **alive)(kind).remote()


@contextmanager
def settings_restored() -> Iterator[None]:
    """For jobs in a user's process: restore the previous Ray Data settings afterwards."""
    from ray.data import DataContext

    logger = logging.getLogger("ray.data")
    level = logger.level
    try:
        with DataContext.current(DataContext.get_current().copy()):
            yield
    finally:
        logger.setLevel(level)


def set_up_data(checkpoint_path: str | None, id_column: str | None, filesystem: Any = None) -> None:
    """Settings for the next job; without a path it is not checkpointed."""
    from ray.data import DataContext
    from ray.data.checkpoint import CheckpointConfig

    context = DataContext.get_current()
    context.enable_progress_bars = False  # smotext_ray.cluster.progress draws its own
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the rest is in Ray's log files
    # The new reader merges small files into one block: one actor would get all the work, and
    # nothing would be committed until the end.
    context.use_datasource_v2 = False
    # A pool grows when its actors have this many queued blocks per concurrent block. Ray Data's
    # default of 1.75 is never reached if an actor works on several, because few more may wait.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    context.checkpoint_config = (
        CheckpointConfig(
            id_column=id_column,
            checkpoint_path=checkpoint_path,
            override_filesystem=filesystem,
            delete_checkpoint_on_success=False,
        )
        if checkpoint_path
        else None
    )


def in_task(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call in a Ray task, without a GPU: for work whose memory grows with the corpus."""
    import ray

    return ray.get(ray.remote(num_cpus=1)(_without_gpus).remote(function, *arguments))


def _without_gpus(function: Callable[..., Any], *arguments: Any) -> Any:
    with no_other_gpus():
        return function(*arguments)
