"""The decode job on Ray Data: from a directory of plan rows to a directory of samples."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from smotext_ray.cluster import pools, session
from smotext_ray.cluster.pools import Pool
from smotext_ray.cluster.progress import stage_progress
from smotext_ray.cluster.ray_data import MOST_BLOCKS, map_blocks, read_checkpointed, write
from smotext_ray.cluster.restarts import bounded_restarts, supervised
from smotext_ray.config.schema import RunConfig
from smotext_ray.gate.cleaning import cleaning_gib
from smotext_ray.models.files import weight_bytes
from smotext_ray.pipeline.jobs import DecodeJob
from smotext_ray.pipeline.quarantine import RowQuarantine
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import JobFacts
from smotext_ray.run.tables import plan_table
from smotext_ray.run.throughput import write_progress
from smotext_ray.tables import label_value_type

CPU_TEXTS = 32
CPU_TEXT_SECONDS = 0.1  # of a fast core, with a 135M model
GPU_LEAST_ROWS = 64
BLOCK_SECONDS = 1.0
DRIVER_SECONDS = 0.08  # of the driver's core, per block
MOST_BUSY = 0.5
# A step of a small LLM is CPU-bound; a step of a large one is bound by reading all weights.
GPU_LEAST_STEP = 0.004  # seconds
GPU_BYTES_PER_SECOND = 2e12
GPU_TEXTS_AT_ONCE = 256
USUAL_LENGTH = 1 / 3  # typical text length, relative to max_tokens


def decode_directory(
    config: RunConfig, run: Run, job: DecodeJob, done: str, gate_actor: Any
) -> JobFacts:
    """Decode all rows of a plan, or those left by a killed job; see `Executor.decode`."""
    resources = session.connect(config.resources.gpu_type)
    to_read = plan_table(run, job.plan)
    rows_of_files = [part.count_rows() for part in to_read.get_fragments()]
    embeddings = run.table("embeddings")
    held = cleaning_gib(config, embeddings)
    most, _ = pools.decoder_pools(resources, config, MOST_BLOCKS, held)
    blocks = decode_blocks(rows_of_files, rows_per_block(config, most))
    decoders, gates = pools.decoder_pools(resources, config, blocks, held)
    if len(rows_of_files) == 1:
        # Full rounds of blocks: with 4 blocks for 3 actors, two would be idle in the second round.
        blocks = min(job.rows, math.ceil(blocks / decoders.actors) * decoders.actors)
    label_type = label_value_type(embeddings.schema.field("label").type)
    attempts = f"checkpoints/{job.name}-attempts"
    in_flight = config.resources.decode_blocks_in_flight
    started = time.monotonic()
    before = write_progress(run, job.directory, footers=None).rows
    with (
        stage_progress(job.stage, job.rows, run, before) as counter,
        bounded_restarts(
            config.resources, lower="resources.decoder_actors", counter=counter
        ) as restarts,
    ):
        decoder = {
            "actor": job.actor,
            "given": {
                "config": config,
                "counter": counter,
                "points": math.ceil(job.rows / decoders.actors),
                **job.arguments,
            },
            "run_uri": run.address,
            "attempts": attempts,
            "max_attempts": config.resources.max_attempts,
            "restarts": restarts,
        }
        gate = {
            "config": config,
            "run_uri": run.address,
            "labels": job.labels,
            "label_type": label_type,
            "counter": counter,
        }
        rows = read_checkpointed(run, to_read.files, blocks, None, done, decoders)
        decoded = map_blocks(
            rows,
            **supervised(RowQuarantine, decoder, "decoder", restarts, config.resources, in_flight),
            **pools.pool_options(decoders, blocks, in_flight),
        )
        gated = map_blocks(
            decoded,
            **supervised(gate_actor, gate, "gate", restarts, config.resources),
            **pools.pool_options(gates),
        )
        write(gated, run, job.directory, decoders)
        tokens = _tokens(counter)
    run.clear(attempts)
    seconds = time.monotonic() - started
    return JobFacts(seconds=seconds, tokens=tokens, actors=decoders.actors)


def rows_per_block(config: RunConfig, decoders: Pool) -> int:
    """Rows per block of the decode job, as configured or by estimated time.

    A kill loses a block, the first texts come with the first block, and each block costs the driver
    about 0.08 s of its single core, regardless of its rows (benchmarks/scale.py). On CPU 32 texts
    take half a minute. On GPUs a block should take a decoder at least a second. With more decoders
    blocks are larger, so that the driver is busy at most half of the time. A GPU's decoding speed
    is estimated from the LLM's size, not measured.

    Parameters
    ----------
    config : RunConfig
    decoders : Pool
        Pool with the maximum number of decoders.

    Returns
    -------
    int
    """
    if config.resources.decode_rows_per_block:
        return config.resources.decode_rows_per_block
    for_driver = decoders.actors * DRIVER_SECONDS / MOST_BUSY
    if not decoders.gpus:
        texts = max(CPU_TEXTS, for_driver / CPU_TEXT_SECONDS)
        return math.ceil(texts / config.decoder.num_candidates)
    size = weight_bytes(config.decoder.model)
    step = max(GPU_LEAST_STEP, size / decoders.gpus / GPU_BYTES_PER_SECOND)
    tokens = config.decoder.num_candidates * config.decoder.max_tokens * USUAL_LENGTH
    seconds = max(BLOCK_SECONDS, for_driver)
    return max(GPU_LEAST_ROWS, round(seconds * GPU_TEXTS_AT_ONCE / step / tokens))


def decode_blocks(rows_of_files: Sequence[int], rows_per_block: int) -> int:
    """Number of blocks to request from Ray Data, so that none exceeds a number of rows.

    Ray Data splits each file into the same number of blocks. A job that would have more than
    `MOST_BLOCKS` of them gets that many larger ones.

    Parameters
    ----------
    rows_of_files : sequence of int
    rows_per_block : int

    Returns
    -------
    int
        At least one per file.

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
