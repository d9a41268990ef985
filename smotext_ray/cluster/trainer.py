"""The one Ray task that trains: with a GPU if there is one, else with the cores of one machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smotext_ray.cluster.gpus import gpu_options, no_other_gpus
from smotext_ray.cluster.session import Cluster, _started_here
from smotext_ray.utils.cpu import usable_cores

MOST_CPUS = 8  # more do not speed up the small batches of a 135M LLM


def in_trainer(function: Callable[[], Any], cluster: Cluster) -> Any:
    """Call in a task whose process ends with it, so that vLLM then finds the GPU's memory free."""
    import ray

    options = trainer_options(cluster)
    threads = int(options["num_cpus"])
    return ray.get(ray.remote(**options, max_calls=1)(_on_threads).remote(function, threads))


def trainer_options(cluster: Cluster) -> dict[str, Any]:
    """What the task reserves, as options of Ray."""
    # A Ray started here counts each core twice.
    cores = usable_cores() if _started_here() else max(cluster.node_cpus, default=cluster.cpus)
    on_gpu = gpu_options(1 if cluster.gpus >= 1 else 0, cluster.gpu_type)
    return {"num_cpus": max(1, min(MOST_CPUS, int(cores))), **on_gpu}


def _on_threads(function: Callable[[], Any], threads: int) -> Any:
    import torch

    torch.set_num_threads(threads)
    with no_other_gpus():
        return function()
