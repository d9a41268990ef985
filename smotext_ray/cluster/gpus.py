"""The GPUs that Ray has reserved for this process, and a lock for loading onto them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def no_other_gpus() -> Iterator[None]:
    """Hide all GPUs during a ``with`` block, unless Ray has reserved some for this task or actor.

    Since 2.60 Ray leaves the environment variable unchanged if none are reserved, so torch and
    FAISS would use GPU 0, which others may have reserved (ray-project/ray#62492).
    """
    if reserved_gpus():
        yield
        return
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = ""
    try:
        yield
    finally:
        # Ray reuses its workers for tasks other than ours.
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before


def hide_other_gpus() -> None:
    """`no_other_gpus` for the rest of this process, which is one of our actors."""
    if not reserved_gpus():
        os.environ[VISIBLE] = ""


def reserved_gpus() -> list[str]:
    """Ids of the GPUs that Ray has reserved for this process, at least in part."""
    import ray

    if not ray.is_initialized():
        return []
    found = ray.get_runtime_context().get_accelerator_ids()
    return [str(gpu) for gpu in found.get("GPU", [])]


def gpu_options(gpus: float, gpu_type: str) -> dict[str, Any]:
    """What an actor or a task reserves, as options of Ray; an empty type means any."""
    of_type = {"accelerator_type": gpu_type} if gpus and gpu_type else {}
    return {"num_gpus": gpus, **of_type}


@contextmanager
def loading_alone() -> Iterator[None]:
    """Lock this process's GPUs against loading by our other processes.

    During startup, vLLM attributes all memory taken on a device to itself, and fails if memory is
    freed in the meantime (``vllm/utils/mem_utils.py``). So engines and the gate's encoder on the
    same GPU start one at a time. The OS releases the lock when a process ends.
    """
    from filelock import FileLock

    with ExitStack() as held:
        for gpu in sorted(reserved_gpus()):  # in sorted order, to prevent deadlocks
            held.enter_context(FileLock(_lock_file(gpu), mode=0o666))
        yield


def _lock_file(gpu: str) -> Path:
    return Path(tempfile.gettempdir()) / f"smotext-ray-gpu-{gpu.replace('/', '-')}.lock"
