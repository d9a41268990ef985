"""The GPUs of this process: those that Ray has reserved for it, one loader on each at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def no_other_gpus() -> Iterator[None]:
    """Hide all GPUs in the block, unless Ray has reserved some for this task or actor.

    Since 2.60 Ray leaves the variable alone where none are reserved, so that torch and FAISS
    would take GPU 0 of whoever holds it (ray-project/ray#62492).
    """
    if reserved_gpus():
        yield
        return
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = ""
    try:
        yield
    finally:
        # A worker of Ray's is used again, for tasks that are not ours.
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before


def hide_other_gpus() -> None:
    """`no_other_gpus` for the rest of this process, which is an actor of ours."""
    if not reserved_gpus():
        os.environ[VISIBLE] = ""


def reserved_gpus() -> list[str]:
    """Ids of the GPUs that Ray has reserved, also in part, for this process; none outside Ray."""
    import ray

    if not ray.is_initialized():
        return []
    found = ray.get_runtime_context().get_accelerator_ids()
    return [str(gpu) for gpu in found.get("GPU", [])]


@contextmanager
def loading_alone() -> Iterator[None]:
    """Wait until nothing else of ours loads onto this process's GPUs, and keep others waiting.

    vLLM takes for its own whatever a device loses while it starts, and fails where memory is
    given back meanwhile (``vllm/utils/mem_utils.py``). So an engine, another engine and the
    gate's encoder on one GPU start one after the other. The system frees the lock of a process
    that ends.
    """
    from filelock import FileLock

    with ExitStack() as held:
        for gpu in sorted(reserved_gpus()):  # in one order, so that two never wait for each other
            held.enter_context(FileLock(_lock_file(gpu), mode=0o666))
        yield


def _lock_file(gpu: str) -> Path:
    return Path(tempfile.gettempdir()) / f"smotext-ray-gpu-{gpu.replace('/', '-')}.lock"
