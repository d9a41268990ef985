"""Ray: connect or start it, and size the actor pools from what the cluster has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from smotext_ray.config import RunConfig
from smotext_ray.errors import UserError

GIB = 1024**3
# What Ray Data's own tasks need beside the actors: the filter of finished rows takes one
# whole CPU on resuming, reading and writing the rest. With every CPU held by actors a
# job would wait for ever.
SPARE_CPUS = 2.0
DECODER_GIB = 3.0  # an engine of a 135M model on CPU, its cache and torch; measured 2.5
ENCODER_GIB = 1.0
GATE_GPUS = 0.1  # of the GPU that a decoder holds for the rest


@dataclass(frozen=True)
class Pool:
    """Actors of one kind and what each of them reserves."""

    actors: int
    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True)
class Cluster:
    """What is there to work with.

    Attributes
    ----------
    cpus : float
        Logical CPUs of Ray.
    gpus : float
    memory_gib : float
        Memory that Ray counts for tasks and actors.
    """

    cpus: float
    gpus: float
    memory_gib: float


def connect() -> Cluster:
    """Connect to the cluster of ``RAY_ADDRESS``, or start Ray on this machine.

    A Ray started here counts each core twice and two more: the decoders hold one CPU a
    core, and what is left is room for Ray Data's light tasks.
    """
    import ray

    if not ray.is_initialized():
        if os.environ.get("RAY_ADDRESS"):
            ray.init(logging_level="ERROR", log_to_driver=False)
        else:
            cores = usable_cores()
            ray.init(
                num_cpus=2 * cores + 2,
                include_dashboard=False,
                logging_level="ERROR",
                log_to_driver=False,
            )
    resources = ray.cluster_resources()
    return Cluster(
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        memory_gib=resources.get("memory", 0.0) / GIB,
    )


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def encoder_pool(cluster: Cluster, config: RunConfig, blocks: int) -> Pool:
    """Actors of the embed job."""
    if cluster.gpus:
        share = config.resources.encoder_gpus
        room = int(cluster.gpus / share) if share else int(cluster.cpus - SPARE_CPUS)
        return Pool(_actors("encoder", config.resources.encoder_actors, room, blocks), 1.0, share)
    room = _room_on_cpus(cluster, ENCODER_GIB)
    return Pool(_actors("encoder", config.resources.encoder_actors, room, blocks), 1.0)


def decoder_pools(cluster: Cluster, config: RunConfig, blocks: int) -> tuple[Pool, Pool]:
    """Actors of the decode job: the decoders, and the gate's encoders behind them."""
    asked = config.resources.decoder_actors
    if not cluster.gpus:
        room = _room_on_cpus(cluster, DECODER_GIB, beside=1)
        decoders = Pool(_actors("decoder", asked, room, blocks), 1.0)
        return decoders, Pool(_gates(decoders.actors), 0.5)
    width = config.decoder.tensor_parallel_size
    room = int(cluster.gpus) // width
    if not room:
        raise UserError(
            f"decoder.tensor_parallel_size is {width}, but the cluster has {cluster.gpus:.0f} "
            "GPUs; lower it or add GPUs."
        )
    number = _actors("decoder", asked, room, blocks)
    if width > 1:  # an engine over several GPUs takes them whole
        left = cluster.gpus - number * width
        return Pool(number, 1.0, width), Pool(_gates(number), 1.0, GATE_GPUS if left >= 1 else 0.0)
    return Pool(number, 1.0, 1.0 - GATE_GPUS), Pool(_gates(number), 1.0, GATE_GPUS)


def planner_pool(cluster: Cluster, groups: int) -> Pool:
    """Actors of the plan job; each takes a GPU where there is one, for FAISS."""
    if cluster.gpus:
        return Pool(max(1, min(int(cluster.gpus), groups)), 1.0, 1.0)
    return Pool(max(1, min(_room_on_cpus(cluster, ENCODER_GIB), groups)), 1.0)


def _room_on_cpus(cluster: Cluster, gib: float, beside: int = 0) -> int:
    """How many one-CPU actors fit, in CPUs and in memory, with ``beside`` gates next to them."""
    by_cpus = int(cluster.cpus - SPARE_CPUS) // 2 if _started_here() else _cpus_left(cluster)
    by_memory = int((cluster.memory_gib - beside * ENCODER_GIB) / gib)
    room = min(by_cpus, by_memory)
    if room < 1:
        raise UserError(
            f"The cluster has {cluster.cpus:.0f} CPUs and {cluster.memory_gib:.1f} GiB free for "
            f"actors; one actor takes 1 CPU and {gib:.0f} GiB beside {SPARE_CPUS:.0f} CPUs and "
            f"{beside * ENCODER_GIB:.0f} GiB for the rest: use a larger machine or cluster."
        )
    return room


def _cpus_left(cluster: Cluster) -> int:
    return int(cluster.cpus - SPARE_CPUS - 0.5)


def _started_here() -> bool:
    return not os.environ.get("RAY_ADDRESS")


def _actors(kind: str, asked: int, room: int, blocks: int) -> int:
    if asked > room:
        raise UserError(
            f"resources.{kind}_actors asks for {asked} actors, but the cluster has room for "
            f"{room}; lower it, or set it to 0 to take what fits."
        )
    return max(1, min(asked or room, blocks))


def _gates(decoders: int) -> int:
    return max(1, decoders // 8)


def pool_options(pool: Pool) -> dict[str, Any]:
    """The pool as options of ``Dataset.map_batches``."""
    from ray.data import ActorPoolStrategy

    return {
        # All at once: a pool that starts with one actor grows late, or never on short jobs.
        "compute": ActorPoolStrategy(
            min_size=pool.actors, max_size=pool.actors, initial_size=pool.actors
        ),
        "num_cpus": pool.cpus,
        "num_gpus": pool.gpus,
    }
