"""Connect to a Ray cluster, or start one on this machine."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from smotext_ray.cluster.local_ray import forget_token, start_local_ray
from smotext_ray.errors import UserError
from smotext_ray.utils.cpu import usable_cores

GIB = 1024**3
ANSWER_SECONDS = 4.0


@dataclass(frozen=True)
class Cluster:
    """Resources of a Ray cluster.

    Attributes
    ----------
    cpus : float
        Ray's logical CPUs.
    gpus : float
    memory_gib : float
        Memory that Ray provides for tasks and actors.
    node_gpus, node_cpus : tuple of float
        GPUs and CPUs of each node, because an engine cannot span nodes; empty for a single node.
    can_be : str
        "has" for current resources, "may grow to" for an autoscaler's limits.
    gpu_type : str
        The only type of GPU that is counted, as named by Ray, such as "A100"; empty for any.
    gpu_types : tuple of str
        All types that the cluster has, counted or not.
    """

    cpus: float
    gpus: float
    memory_gib: float
    node_gpus: tuple[float, ...] = ()
    can_be: str = "has"
    gpu_type: str = ""
    gpu_types: tuple[str, ...] = ()
    node_cpus: tuple[float, ...] = ()


def connect(gpu_type: str = "") -> Cluster:
    """Connect to the cluster at ``RAY_ADDRESS``, or start Ray on this machine.

    A Ray started here counts each core twice, plus two: the decoders reserve one CPU per core, and
    the rest is for Ray Data's light tasks. With a ``gpu_type``, GPUs of other types do not count.
    """
    # Ray's core prints an error line for every actor of Ray Data ("has constructor arguments in the
    # object store"), although that is how Ray Data creates them.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Ray retries tasks killed for lack of memory forever, with increasing delays; after this many
    # retries (minutes), memory is unlikely to free up.
    os.environ.setdefault("RAY_task_oom_retries", "8")
    # Tracebacks of Ray Data's statistics actor, which Ray may also kill when memory runs out.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    import ray

    if not ray.is_initialized():
        with _core_is_quiet():
            _init(ray)
    resources = ray.cluster_resources()
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    node_gpus = tuple(
        node.get("GPU", 0.0) if gpu_type in ("", *_gpu_types(node)) else 0.0 for node in nodes
    )
    return Cluster(
        cpus=resources.get("CPU", 0.0),
        gpus=sum(node_gpus) if gpu_type else resources.get("GPU", 0.0),
        memory_gib=resources.get("memory", 0.0) / GIB,
        node_gpus=node_gpus,
        node_cpus=tuple(node.get("CPU", 0.0) for node in nodes),
        gpu_type=gpu_type,
        gpu_types=tuple(sorted({name for node in nodes for name in _gpu_types(node)})),
    )


def _gpu_types(resources: dict[str, float]) -> list[str]:
    """The types of GPU that Ray found on a node, for which it adds resources of that name."""
    mark = "accelerator_type:"
    return [name.removeprefix(mark) for name in resources if name.startswith(mark)]


def _init(ray: Any) -> None:
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    address = os.environ.get("RAY_ADDRESS")
    if not address or address == "local":
        start_local_ray(num_cpus=2 * usable_cores() + 2, **quiet)
        return
    check_address(address)
    forget_token()  # from a Ray that this process had before
    try:
        ray.init(**quiet)
    except ConnectionError as error:
        raise UserError(_no_cluster(address)) from error


def check_address(address: str) -> None:
    """Check the form of a cluster's address, and that something answers there.

    Raises
    ------
    UserError
        Within `ANSWER_SECONDS`; Ray itself tries for half a minute.
    """
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(
            f"The address {address!r} of the Ray cluster is not host:port, such as 10.0.0.1:6379 "
            "(http:// is for ray job submit, and ray:// is not supported); set RAY_ADDRESS or "
            "--address to that of the head node."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError as error:
        raise UserError(_no_cluster(address)) from error


def _no_cluster(address: str) -> str:
    return (
        f"No Ray cluster answers at {address!r}; start it, or correct RAY_ADDRESS or --address "
        "(without them, Ray starts on this machine)."
    )


@contextmanager
def _core_is_quiet() -> Iterator[None]:
    """Keep the startup messages of Ray's C++ core (with its own log level) off the terminal."""
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


def _started_here() -> bool:
    return os.environ.get("RAY_ADDRESS", "local") in ("", "local")
