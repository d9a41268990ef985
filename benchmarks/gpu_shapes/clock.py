"""Seconds of work on the device, which the host does not wait for by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def device() -> str:
    """ "cuda" where there is a GPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def wait() -> None:
    """Wait until the GPU has finished all queued work."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_of(work: Callable[[], Any], times: int = 1) -> float:
    """Of one call, the mean over ``times``, after one call to warm up."""
    work()
    wait()
    started = time.perf_counter()
    for _ in range(times):
        work()
    wait()
    return (time.perf_counter() - started) / times


def peak_gib() -> float:
    """Most that torch has held on the GPU since the process began; 0 without a GPU."""
    import torch

    return torch.cuda.max_memory_reserved() / 2**30 if torch.cuda.is_available() else 0.0


def told(way: Callable[[], Any]) -> Any:
    """What a way gives, or its error as a figure: the ways after it are measured all the same."""
    try:
        return way()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
