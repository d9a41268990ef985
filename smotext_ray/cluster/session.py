"""Find a Ray cluster, or start one of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

GIB = 1024**3


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
    node_gpus : tuple of float
        GPUs of each node, for an engine cannot reach over nodes; empty for a single node.
    can_be : str
        "has" of what is there, "may grow to" of an autoscaler's bounds.
    """

    cpus: float
    gpus: float
    memory_gib: float
    node_gpus: tuple[float, ...] = ()
    can_be: str = "has"


def connect() -> Cluster:
    """Connect to the cluster of ``RAY_ADDRESS``, or start Ray on this machine.

    A Ray started here counts each core twice and two more: the decoders hold one CPU a
    core, and what is left is room for Ray Data's light tasks.
    """
    # Ray's core prints an error line for every actor of Ray Data ("has constructor arguments
    # in the object store"), which is how Ray Data makes them.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # A task that Ray ends for want of memory it starts again without end, ever later; after
    # so many tries, minutes, no memory will come.
    os.environ.setdefault("RAY_task_oom_retries", "8")
    # Tracebacks of Ray Data's own actor for statistics, which Ray ends for want of memory too.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    import ray

    if not ray.is_initialized():
        with _core_is_quiet():
            _init(ray)
    resources = ray.cluster_resources()
    return Cluster(
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        memory_gib=resources.get("memory", 0.0) / GIB,
        node_gpus=tuple(node["Resources"].get("GPU", 0.0) for node in ray.nodes() if node["Alive"]),
    )


def _init(ray: Any) -> None:
    if os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level="ERROR", log_to_driver=False)
        return
    ray.init(
        # Without it Ray joins a cluster that someone started on this machine, and then
        # refuses num_cpus.
        address="local",
        num_cpus=2 * usable_cores() + 2,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
    )


@contextmanager
def _core_is_quiet() -> Iterator[None]:
    """Keep what Ray's C++ core says while it starts (its own log level) off the terminal."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _started_here() -> bool:
    return not os.environ.get("RAY_ADDRESS")
