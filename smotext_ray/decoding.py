"""The decode job: a directory of plan rows in, a directory of samples out, on Ray Data."""

from __future__ import annotations

import math
import time
from typing import Any

from smotext_ray import cluster
from smotext_ray.actors import DecodeActor, GateActor
from smotext_ray.config import RunConfig
from smotext_ray.progress import stage_progress
from smotext_ray.ray_data import read_checkpointed, write
from smotext_ray.run import Run

MOST_BLOCKS = 4096  # of one job, however many points


def decode_directory(
    config: RunConfig,
    run: Run,
    *,
    plan: str,
    samples: str,
    job: str,
    stage: str,
    points: int,
    actor: Any = DecodeActor,
    **of_actor: Any,
) -> dict[str, Any]:
    """Decode all rows of a plan, or those that a killed job has left.

    Parameters
    ----------
    config : RunConfig
        Its ``decoder`` and ``gate`` are those of this job.
    run : Run
    plan, samples : str
        Directories of the run, read and written.
    job : str
        Where in ``checkpoints/`` the done ids are kept.
    stage : str
        The job's name in the progress and the log.
    points : int
        Rows of the plan.
    actor : class, default=DecodeActor
        Plan rows -> the same with candidate texts.
    **of_actor
        For its constructor, beside ``config`` and ``counter``.

    Returns
    -------
    dict
        ``seconds``, ``tokens`` and ``actors`` (the decoders).
    """
    resources = cluster.connect()
    blocks = decode_blocks(points, config.resources.decode_rows_per_block)
    decoders, gates = cluster.decoder_pools(resources, config, blocks)
    # Full rounds of blocks: with 4 blocks for 3 actors two of them would wait.
    blocks = min(points, math.ceil(blocks / decoders.actors) * decoders.actors)
    labels = [label for label, _ in run.manifest["input"]["class_counts"]]
    label_type = run.table("embeddings").schema.field("label").type
    started = time.monotonic()
    with stage_progress(stage, points) as counter:
        rows = read_checkpointed(run, plan, blocks, columns=None, job=job)
        gated = rows.map_batches(
            actor,
            fn_constructor_kwargs={"config": config, "counter": counter, **of_actor},
            batch_size=None,
            batch_format="pyarrow",
            **cluster.pool_options(decoders),
        ).map_batches(
            GateActor,
            fn_constructor_args=(config, run.uri, labels, label_type, counter),
            batch_size=None,
            batch_format="pyarrow",
            **cluster.pool_options(gates),
        )
        write(gated, run, samples)
        tokens = _tokens(counter)
    return {
        "seconds": time.monotonic() - started,
        "tokens": tokens,
        "actors": decoders.actors,
    }


def decode_blocks(points: int, rows_per_block: int) -> int:
    """Blocks of a decode job; at least one."""
    return min(MOST_BLOCKS, max(1, math.ceil(points / rows_per_block)))


def _tokens(counter: Any) -> int:
    import ray

    return int(ray.get(counter.get.remote())[1])
