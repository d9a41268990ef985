"""FAISS's exact search, on a GPU if there is one."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smotext_ray.config.choices import Metric

GPU_MAX_K = 2048  # a limit of FAISS's GPU selection kernels
GPU_TILE_BYTES = 1 << 30
# FAISS would permanently take 1.5 GiB of a GPU that a decoder uses next.
GPU_TEMPORARY_BYTES = 64 << 20

# FAISS's GPU resources are not thread-safe (faiss#835).
_gpu_lock = threading.Lock()


def faiss_search(
    queries: NDArray[np.float32], base: NDArray[np.float32], k: int, metric: Metric
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The ``k`` nearest rows of the base, as FAISS computes them, on a GPU if it has one.

    Parameters
    ----------
    queries : ndarray of float32, shape (q, d)
    base : ndarray of float32, shape (n, d)
        For "cosine", the rows of both have length 1.
    k : int
        From 1 to n.
    metric : {"cosine", "euclidean"}

    Returns
    -------
    scores : ndarray of float64, shape (q, k)
        1 - cos, or the squared Euclidean distance, with float32's rounding errors.
    rows : ndarray of int64, shape (q, k)
    """
    import faiss

    kind = faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
    resources = gpu_for(k)
    if resources is None:
        fast, rows = faiss.knn(queries, base, k, metric=kind)
    else:
        with _gpu_lock:
            fast, rows = faiss.knn_gpu(
                resources,
                queries,
                base,
                k,
                metric=kind,
                vectorsMemoryLimit=GPU_TILE_BYTES,
                queriesMemoryLimit=GPU_TILE_BYTES,
            )
    scores = fast.astype(np.float64)
    return (1 - scores if metric == "cosine" else scores), rows.astype(np.int64)


def gpu_for(k: int) -> Any:
    """FAISS's GPU resources if it can search this many neighbors on a GPU; else None."""
    return _gpu_resources() if k <= GPU_MAX_K else None


@cache
def _gpu_resources() -> Any:
    """FAISS's GPU resources, created once per process; None if FAISS has no GPU."""
    import faiss

    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
        return None
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(GPU_TEMPORARY_BYTES)
    return resources
