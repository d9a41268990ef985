"""Ray Data as all jobs use it: checkpointed reading, light writing, its own output kept off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from smotext_ray.cluster.gpus import no_other_gpus

if TYPE_CHECKING:
    from smotext_ray.cluster.pools import Pool
    from smotext_ray.run.directory import Run


MOST_BLOCKS = 4096  # of one job, and files of one stage, however many rows
LIGHT_CPUS = 0.5  # of a reading or writing task, which waits on files, not on the CPU


def read_checkpointed(
    run: Run, files: str | list[str], blocks: int, columns: list[str] | None, job: str, pool: Pool
) -> Any:
    """Tables of the run as a Ray dataset of so many blocks, without the rows that are done.

    ``files`` is a directory of the run, or paths for ``run.fs``; ``job`` the directory in
    ``checkpoints/`` that holds the ids of what was written; ``pool`` takes the blocks.
    """
    import ray

    id_column = "id" if columns else "sample_id"
    set_up_data(run.make("checkpoints", job), id_column, run.fs)
    return ray.data.read_parquet(
        run.at(files) if isinstance(files, str) else files,
        filesystem=run.fs,
        columns=columns,
        override_num_blocks=blocks,
        num_cpus=LIGHT_CPUS,
        concurrency=_light_tasks(pool),
    )


def map_blocks(dataset: Any, **options: Any) -> Any:
    """``Dataset.map_batches`` of whole blocks, as Arrow tables, by actors with GPUs too.

    ``map_batches`` wants a number of rows where a GPU is asked for, and would then put blocks
    together or cut them; but here a block is what is committed and resumed. Ray Data's own
    ``map_groups`` has the same need and calls what is called here.
    """
    return dataset.map_batches_internal(batch_size=None, batch_format="pyarrow", **options)


def write(dataset: Any, run: Run, directory: str, pool: Pool) -> None:
    """Do the dataset's work and write its rows, which come from such a pool, as parquet."""
    dataset.write_parquet(
        run.make(directory),
        filesystem=run.fs,
        ray_remote_args={"num_cpus": LIGHT_CPUS},
        concurrency=_light_tasks(pool),
    )


def _light_tasks(pool: Pool) -> int | None:
    """Tasks at once that read or write blocks for such a pool; None for no bound.

    On CPU a block takes an actor many times as long as it takes them, and each task that begins
    beside others costs seconds of a process's start, while the actors load their models. A GPU
    may wait for them.
    """
    return None if pool.gpus else max(1, pool.actors // 2)


def surviving_actor(kind: Any) -> Any:
    """Handle of a small actor that counts for a job: lost with its node it begins again at 0."""
    import ray

    alive = {"max_restarts": -1, "max_task_retries": -1}  # a wrong count must not end the job
    return ray.remote(num_cpus=0, **alive)(kind).remote()


@contextmanager
def settings_restored() -> Iterator[None]:
    """For jobs in a process that has datasets of its own: Ray Data is set as before afterwards."""
    from ray.data import DataContext

    logger = logging.getLogger("ray.data")
    level = logger.level
    try:
        with DataContext.current(DataContext.get_current().copy()):
            yield
    finally:
        logger.setLevel(level)


def set_up_data(checkpoint_path: str | None, id_column: str | None, filesystem: Any = None) -> None:
    """Settings of the next job; without a path it is not checkpointed."""
    from ray.data import DataContext
    from ray.data.checkpoint import CheckpointConfig

    context = DataContext.get_current()
    context.enable_progress_bars = False  # smotext_ray.cluster.progress has its own
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # Ray's own files hold the rest
    # The new reader merges small files into one block: one actor would get all the work,
    # and nothing would be committed before the end.
    context.use_datasource_v2 = False
    # A pool grows when its actors have this many blocks for each that they work on at once. Ray
    # Data's own 1.75 is never reached where an actor works on several: few may wait beside them.
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
    """Call where memory may grow with the corpus: not on the driver. It sees no GPU."""
    import ray

    return ray.get(ray.remote(num_cpus=1)(_without_gpus).remote(function, *arguments))


def _without_gpus(function: Callable[..., Any], *arguments: Any) -> Any:
    with no_other_gpus():
        return function(*arguments)
