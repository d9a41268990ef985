"""Actor pools, sized by the cluster's resources."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from smotext_ray.cluster.gpus import gpu_options
from smotext_ray.cluster.session import Cluster, _started_here
from smotext_ray.config.schema import ResourcesConfig, RunConfig
from smotext_ray.errors import UserError

# CPUs for Ray Data's own tasks in addition to the actors: on resuming, filtering out finished rows
# takes a whole CPU, reading and writing the rest. If actors reserved every CPU, a job would wait
# forever.
SPARE_CPUS = 2.0
DECODER_GIB = 3.0  # an engine with a 135M model on CPU, its cache and torch; measured 2.5
ENCODER_GIB = 1.0
PLANNER_GPUS = 0.25  # most of a planner's time is arithmetic on its core
# Threads that an engine on a GPU keeps busy: its loop, EngineCore, and communication.
GPU_DECODER_CPUS = 3.0


@dataclass(frozen=True)
class Pool:
    """Actors of one kind, and the resources that each reserves.

    Attributes
    ----------
    actors : int
        Maximum number of actors.
    cpus, gpus : float
        Reserved by each actor.
    first : int
        Initial number of actors: fewer than ``actors`` if the cluster is expected to grow.
    gpu_type : str
        Type of GPU that each must be on, as named by Ray; empty for any.
    """

    actors: int
    cpus: float
    gpus: float = 0.0
    first: int = 0
    gpu_type: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", self.first or self.actors)


def encoder_pool(cluster: Cluster, config: RunConfig, blocks: int) -> Pool:
    """Size the actor pool of the embed job.

    Parameters
    ----------
    cluster : Cluster
        Its current resources.
    config : RunConfig
        Its ``resources`` include the autoscaler's limits.
    blocks : int
        More actors than blocks would have nothing to do.

    Raises
    ------
    UserError
        If not even one actor fits, or not as many as requested, with the required resources.
    """
    (pool,) = _growing(cluster, config, lambda room: (_encoder_pool(room, config, blocks),))
    return pool


def decoder_pools(
    cluster: Cluster, config: RunConfig, blocks: int, gate_gib: float = 0.0
) -> tuple[Pool, Pool]:
    """Size the pools of the decode job: decoders and gates.

    Like `encoder_pool`. ``gate_gib`` is the memory of a gate for the corpus, in addition to its
    encoder.
    """
    decoders, gates = _growing(
        cluster, config, lambda room: _decoder_pools(room, config, blocks, gate_gib)
    )
    return decoders, gates


def _growing(
    cluster: Cluster, config: RunConfig, size: Callable[[Cluster], tuple[Pool, ...]]
) -> tuple[Pool, ...]:
    """Pools sized for the cluster's limits, starting with what fits now."""
    bounds = _bounds(cluster, config)
    _check_gpu_type(bounds)
    most = tuple(
        replace(pool, gpu_type=cluster.gpu_type if pool.gpus else "") for pool in size(bounds)
    )
    if bounds == cluster:
        return most
    try:
        now = size(cluster)
    except UserError:  # does not fit yet
        now = tuple(replace(pool, actors=1) for pool in most)
    return tuple(
        replace(pool, cpus=min(pool.cpus, there.cpus), first=min(there.actors, pool.actors))
        if there.gpus == pool.gpus
        # Without a GPU now, only actors of another kind would fit.
        else replace(pool, first=1)
        for pool, there in zip(most, now, strict=True)
    )


def _check_gpu_type(cluster: Cluster) -> None:
    if cluster.gpu_type and not cluster.gpus:
        raise UserError(
            f"resources.gpu_type is {cluster.gpu_type!r}, but the cluster has no such GPU; choose "
            f"one of its types ({', '.join(cluster.gpu_types) or 'none'}), or set "
            "resources.max_cluster_gpus if the autoscaler can start some."
        )


def _bounds(cluster: Cluster, config: RunConfig) -> Cluster:
    """The size that the cluster may grow to, or the cluster itself if it does not grow.

    Ray's open-source autoscaler does not tell a driver its limits, so the user sets them.
    """
    cpus = max(cluster.cpus, config.resources.max_cluster_cpus)
    gpus = max(cluster.gpus, config.resources.max_cluster_gpus)
    if (cpus, gpus) == (cluster.cpus, cluster.gpus):
        return cluster
    return Cluster(
        cpus=cpus,
        gpus=gpus,
        gpu_type=cluster.gpu_type,
        memory_gib=math.inf,  # unknown for future machines
        node_gpus=(*cluster.node_gpus, gpus - cluster.gpus),
        can_be="may grow to",
    )


def _encoder_pool(cluster: Cluster, config: RunConfig, blocks: int) -> Pool:
    asked, share = config.resources.encoder_actors, config.resources.gpus_per_encoder
    if cluster.gpus < 1 or not share:
        room = _room(cluster, _one_a_core(cluster), _Needs(memory_gib=ENCODER_GIB))
        return Pool(_actors("encoder", asked, room, blocks), 1.0)
    each = int(1 / share)  # an actor's share must be on a single GPU
    if not each:
        raise UserError(
            f"resources.gpus_per_encoder is {share:g}, but an encoder uses at most 1 GPU; lower it."
        )
    room = _room(cluster, int(cluster.gpus) * each, _Needs())
    return Pool(_actors("encoder", asked, room, blocks), 1.0, share)


def _decoder_pools(
    cluster: Cluster, config: RunConfig, blocks: int, gate_gib: float
) -> tuple[Pool, Pool]:
    if cluster.gpus >= 1:
        return _gpu_decoder_pools(cluster, config, blocks, gate_gib)
    resources = config.resources
    gates = _gates(resources, per_gate=8)
    needs = _Needs(DECODER_GIB, gates, gate_cpus=0.5, gate_memory_gib=ENCODER_GIB + gate_gib)
    room = _room(cluster, _one_a_core(cluster), needs)
    number = _actors("decoder", resources.decoder_actors, room, blocks)
    return Pool(number, 1.0), Pool(gates(number), needs.gate_cpus)


def _gpu_decoder_pools(
    cluster: Cluster, config: RunConfig, blocks: int, gate_gib: float
) -> tuple[Pool, Pool]:
    """Decoders with one gate each, because a gate is not faster than a decoder.

    A gate shares a decoder's GPU, or has its own if ``gpus_per_gate`` is 1.
    """
    resources = config.resources
    width, gpus_per_gate = config.decoder.tensor_parallel_size, resources.gpus_per_gate
    gates = _gates(resources, per_gate=1)
    engines, share = _engines(cluster, config, gates)
    if width > 1 and gpus_per_gate:  # an engine on several GPUs takes them entirely
        left = cluster.gpus - engines * width
        if left < 1 and resources.gpus_per_encoder >= 1:  # the encoder is too large for a CPU
            engines, left = engines - 1, left + width
            if not engines:
                raise UserError(
                    f"The engine takes all {cluster.gpus:g} GPUs, but the gate's encoder needs one "
                    "more; add a GPU, lower decoder.tensor_parallel_size, or run the gate on "
                    "the CPU with resources.gpus_per_gate=0."
                )
        if left < 1:
            gpus_per_gate = 0.0
    needs = _Needs(gates=gates, gate_cpus=1.0, gate_memory_gib=gate_gib)
    room = _room(cluster, engines, needs)
    number = _actors("decoder", resources.decoder_actors, room, blocks)
    judges = gates(number)
    if width > 1 and gpus_per_gate:
        judges = min(judges, int((cluster.gpus - number * width) / gpus_per_gate))
    spare = cluster.cpus - SPARE_CPUS - judges * needs.gate_cpus
    cpus = max(1.0, min(GPU_DECODER_CPUS, spare // number))
    return Pool(number, cpus, share), Pool(judges, needs.gate_cpus, gpus_per_gate)


def _engines(cluster: Cluster, config: RunConfig, gates: Callable[[int], int]) -> tuple[int, float]:
    """How many engines fit on the GPUs, and the share of a GPU that each reserves."""
    resources, width = config.resources, config.decoder.tensor_parallel_size
    nodes = cluster.node_gpus or (cluster.gpus,)
    if width > 1:
        if resources.decoders_per_gpu > 1:
            raise UserError(
                "resources.decoders_per_gpu is for single-GPU engines; set it to 1, or "
                "decoder.tensor_parallel_size to 1."
            )
        engines = sum(int(gpus) // width for gpus in nodes)
        if not engines:
            raise UserError(
                f"decoder.tensor_parallel_size is {width}, but no machine of the cluster has more "
                f"than {max(nodes):.0f} GPUs; lower it or add GPUs."
            )
        return engines, float(width)
    each, whole = resources.decoders_per_gpu, sum(int(gpus) for gpus in nodes)
    if resources.gpus_per_gate == 1:
        # Give gates as many GPUs as these engines need; a single GPU must be shared.
        of_engines = [n for n in range(1, whole) if n + gates(n * each) <= whole]
        if not of_engines:
            raise UserError(
                f"resources.gpus_per_gate is 1, but {whole} GPUs are too few for a decoder and its "
                "gates; lower it or resources.gate_actors, or add GPUs."
            )
        return of_engines[-1] * each, 1 / each
    gates_per_gpu = math.ceil(gates(whole * each) / max(1, whole))
    share = (1 - gates_per_gpu * resources.gpus_per_gate) / each
    if share <= 0:
        raise UserError(
            f"resources.gpus_per_gate={resources.gpus_per_gate:g} leaves no share of a GPU for "
            "its decoders; lower it, resources.gate_actors or resources.decoders_per_gpu."
        )
    return whole * each, math.floor(share * 10_000) / 10_000  # Ray counts ten-thousandths


def planner_pool(cluster: Cluster, config: RunConfig, groups: int, memory_gib: float) -> Pool:
    """Size the actor pool of the plan job; with GPUs available now, actors use them for FAISS.

    Like `encoder_pool`, but no GPU machine is started for it. ``memory_gib`` is the memory per
    actor, which holds whole classes.
    """

    def size(room: Cluster) -> tuple[Pool]:
        return (_planner_pool(replace(room, gpus=cluster.gpus), groups, memory_gib),)

    (pool,) = _growing(cluster, config, size)
    return pool


def _planner_pool(cluster: Cluster, groups: int, memory_gib: float) -> Pool:
    needs = _Needs(memory_gib=memory_gib)
    if cluster.gpus >= 1:
        most = int(cluster.gpus) * int(1 / PLANNER_GPUS)
        return Pool(max(1, min(_room(cluster, most, needs), groups)), 1.0, PLANNER_GPUS)
    room = _room(cluster, _one_a_core(cluster), needs)
    return Pool(max(1, min(room, groups)), 1.0)


@dataclass(frozen=True)
class _Needs:
    """Resources of an actor in addition to its CPU, and of the gates for a number of actors."""

    memory_gib: float = 0.0
    gates: Callable[[int], int] = lambda decoders: 0
    gate_cpus: float = 0.0
    gate_memory_gib: float = 0.0


def _room(cluster: Cluster, most: int, needs: _Needs) -> int:
    """The largest number of one-CPU actors, up to ``most``, that fit together with everything else.

    Raises
    ------
    UserError
        If not even one fits: Ray would wait for it forever.
    """

    def wants(actors: int) -> tuple[float, float]:
        gates = needs.gates(actors)
        return (
            actors + gates * needs.gate_cpus + SPARE_CPUS,
            actors * needs.memory_gib + gates * needs.gate_memory_gib,
        )

    for actors in range(most, 0, -1):
        cpus, memory = wants(actors)
        if cpus <= cluster.cpus and memory <= cluster.memory_gib:
            return actors
    cpus, memory = wants(1)
    there = f" and {cluster.memory_gib:.1f} GiB" if math.isfinite(cluster.memory_gib) else ""
    raise UserError(
        f"The cluster {cluster.can_be} {cluster.cpus:g} CPUs{there} for actors, but the job needs "
        f"at least {cpus:g} CPUs and {memory:g} GiB; use a larger machine or cluster, or set "
        "resources.max_cluster_cpus to what the autoscaler may reach."
    )


def _one_a_core(cluster: Cluster) -> int:
    """Number of CPU-bound actors: a Ray started here counts each core twice."""
    cpus = max(1, int(cluster.cpus - SPARE_CPUS))
    return max(1, cpus // 2) if _started_here() else cpus


def _actors(kind: str, asked: int, room: int, blocks: int) -> int:
    if asked > room:
        raise UserError(
            f"resources.{kind}_actors is {asked}, but the cluster has room for {room}; "
            "lower it, or set it to 0 to use as many as fit."
        )
    return max(1, min(asked or room, blocks))


def _gates(resources: ResourcesConfig, per_gate: int) -> Callable[[int], int]:
    """Number of gates for a number of decoders."""
    return lambda decoders: resources.gate_actors or max(1, decoders // per_gate)


def pool_options(pool: Pool, blocks: int | None = None, in_flight: int = 1) -> dict[str, Any]:
    """The pool as options for ``Dataset.map`` and `ray_data.map_blocks`.

    Parameters
    ----------
    pool : Pool
    blocks : int, optional
        Number of blocks of the job.
    in_flight : int, default=1
        Blocks that an actor works on concurrently, in threads; fewer if some actors would get none.
    """
    from ray.data import ActorPoolStrategy

    several: dict[str, Any] = {}
    if in_flight > 1 and blocks is not None:
        at_once = max(1, min(in_flight, blocks // pool.actors))
        several = {
            "max_concurrent_calls_per_actor": at_once,
            "enable_true_multi_threading": True,
            # One block waits at each actor, unless all are running already.
            "max_tasks_in_flight_per_actor": at_once + (blocks > at_once * pool.actors),
        }
    return {
        # Start all at once: a pool that starts with one actor grows late, or never in short jobs.
        "compute": ActorPoolStrategy(
            min_size=pool.first, max_size=pool.actors, initial_size=pool.first, **several
        ),
        "num_cpus": pool.cpus,
        **gpu_options(pool.gpus, pool.gpu_type),
    }
