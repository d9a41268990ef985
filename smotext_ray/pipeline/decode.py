"""The decode job: a directory of plan rows in, a directory of samples out, on Ray Data."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from smotext_ray.cluster import connect, pools
from smotext_ray.cluster.pools import Pool
from smotext_ray.cluster.progress import stage_progress
from smotext_ray.cluster.ray_data import MOST_BLOCKS, map_blocks, read_checkpointed, write
from smotext_ray.cluster.restarts import bounded_restarts, lasting
from smotext_ray.config.schema import RunConfig
from smotext_ray.gate.cleaning import cleaning_gib
from smotext_ray.models.files import weight_bytes
from smotext_ray.pipeline.actors import REAL, Actors
from smotext_ray.pipeline.quarantine import SparingActor
from smotext_ray.run.directory import Run
from smotext_ray.run.throughput import written

CPU_ROWS = 64
BLOCK_SECONDS = 1.0
DRIVER_SECONDS = 0.08  # of the driver's core per block
MOST_BUSY = 0.5
# A step of a small LLM waits for the CPU; that of a large one reads all weights from memory.
GPU_LEAST_STEP = 0.004  # seconds
GPU_BYTES_PER_SECOND = 2e12
GPU_TEXTS_AT_ONCE = 256
USUAL_LENGTH = 1 / 3  # of max_tokens


def decode_directory(
    config: RunConfig,
    run: Run,
    *,
    plan: str,
    samples: str,
    job: str,
    stage: str,
    points: int,
    actors: Actors = REAL,
    **of_decoder: Any,
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
    actors : Actors
    **of_decoder
        For the decoder's constructor, in addition to ``config``, ``counter`` and ``points``.

    Returns
    -------
    dict
        ``seconds``, ``tokens`` and ``actors`` (the decoders).
    """
    resources = connect.connect()
    rows_of_files = [part.count_rows() for part in run.table(plan).get_fragments()]
    embeddings = run.table("embeddings")
    held = cleaning_gib(config, embeddings)
    most, _ = pools.decoder_pools(resources, config, MOST_BLOCKS, held)
    blocks = decode_blocks(rows_of_files, rows_per_block(config, most))
    decoders, gates = pools.decoder_pools(resources, config, blocks, held)
    if len(rows_of_files) == 1:
        # Full rounds of blocks: with 4 blocks for 3 actors two of them would wait.
        blocks = min(points, math.ceil(blocks / decoders.actors) * decoders.actors)
    labels = [label for label, _ in run.manifest["input"]["class_counts"]]
    label_type = embeddings.schema.field("label").type
    notes = f"checkpoints/{job}-attempts"
    started = time.monotonic()
    before = written(run, samples, footers=None).rows
    with (
        stage_progress(stage, points, run, before) as counter,
        bounded_restarts(
            config.resources, lower="resources.decoder_actors", counter=counter
        ) as restarts,
    ):
        decoder = {
            "actor": actors.decode,
            "given": {
                "config": config,
                "counter": counter,
                "points": math.ceil(points / decoders.actors),
                **of_decoder,
            },
            "run_uri": run.uri,
            "notes": notes,
            "max_attempts": config.resources.max_attempts,
            "restarts": restarts,
        }
        gate = {
            "config": config,
            "run_uri": run.uri,
            "labels": labels,
            "label_type": label_type,
            "counter": counter,
        }
        rows = read_checkpointed(run, plan, blocks, None, job, decoders)
        decoded = map_blocks(
            rows,
            **lasting(SparingActor, decoder, "decoder", restarts, config.resources),
            **pools.pool_options(decoders, blocks, config.resources.decode_blocks_in_flight),
        )
        gated = map_blocks(
            decoded,
            **lasting(actors.gate, gate, "gate", restarts, config.resources),
            **pools.pool_options(gates),
        )
        write(gated, run, samples, decoders)
        tokens = _tokens(counter)
    run.clear(notes)
    return {
        "seconds": time.monotonic() - started,
        "tokens": tokens,
        "actors": decoders.actors,
    }


def rows_per_block(config: RunConfig, decoders: Pool) -> int:
    """Rows of a block of the decode job, as set, or by the time that they take.

    A block is what a kill loses, and costs the driver some 0.08 s of its one core, however many
    rows it has (benchmarks/scale.py). On CPU 64 rows take minutes. On GPUs a block is to take a
    decoder a second, and longer the more decoders there are, so that the driver is busy half of
    its time at most. How fast a GPU decodes goes by the size of the LLM: an estimate, not
    measured.

    Parameters
    ----------
    config : RunConfig
    decoders : Pool
        The most that there may be.

    Returns
    -------
    int
    """
    if config.resources.decode_rows_per_block:
        return config.resources.decode_rows_per_block
    if not decoders.gpus:
        return CPU_ROWS
    size = weight_bytes(config.decoder.model)
    step = max(GPU_LEAST_STEP, size / decoders.gpus / GPU_BYTES_PER_SECOND)
    tokens = config.decoder.num_candidates * config.decoder.max_tokens * USUAL_LENGTH
    seconds = max(BLOCK_SECONDS, decoders.actors * DRIVER_SECONDS / MOST_BUSY)
    return max(CPU_ROWS, round(seconds * GPU_TEXTS_AT_ONCE / step / tokens))


def decode_blocks(rows_of_files: Sequence[int], rows_per_block: int) -> int:
    """Blocks to ask of Ray Data, so that none has more than so many rows.

    It cuts each file into equally many. A job of more than `MOST_BLOCKS` such blocks gets so
    many larger ones.

    Parameters
    ----------
    rows_of_files : sequence of int
    rows_per_block : int

    Returns
    -------
    int
        At least one a file.

    Examples
    --------
    >>> decode_blocks([100], 64), decode_blocks([100, 10], 64)
    (2, 4)
    """
    most = max(rows_per_block, math.ceil(sum(rows_of_files) / MOST_BLOCKS))
    return len(rows_of_files) * max(1, math.ceil(max(rows_of_files) / most))


def _tokens(counter: Any) -> int:
    import ray

    return int(ray.get(counter.get.remote())[1])
