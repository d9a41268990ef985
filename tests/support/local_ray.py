"""Ray in the process of the tests: one that most of them share, and others of their own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

OF_DRIVER = {"logging_level": "ERROR", "log_to_driver": False}
QUIET = {"include_dashboard": False, **OF_DRIVER}
CPUS = 6  # of the shared one, as `smotext` starts it on two cores


@contextmanager
def local_ray(cpus: int = 2, gpus: int = 0) -> Iterator[Any]:
    """The module, while Ray runs; it counts GPUs that need not be there."""
    import ray

    ray.init(address="local", num_cpus=cpus, num_gpus=gpus, **QUIET)
    try:
        yield ray
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class SharedRay:
    """The Ray that tests share.

    Attributes
    ----------
    directory : Path
        Where `fake_stages` and the tests meet.
    metrics_port : int
        Where Ray exports its metrics.
    """

    directory: Path
    metrics_port: int


_running: list[tuple[SharedRay, pytest.MonkeyPatch]] = []


def shared_ray(directory: Path) -> SharedRay:
    """The Ray that runs already, or else one that is started now, with this directory."""
    if not _running:
        from fake_run import stage_environment

        from smotext_ray.cluster.local_ray import start_local_ray

        patch = pytest.MonkeyPatch()
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_metrics_report_interval_ms", "1000")
        for name, value in stage_environment(directory).items():
            patch.setenv(name, value)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        start_local_ray(num_cpus=CPUS, _metrics_export_port=port, **OF_DRIVER)
        _running.append((SharedRay(directory, port), patch))
    return _running[0][0]


def end_shared_ray() -> None:
    """End it, if it runs: what comes next has a Ray of its own, or none."""
    while _running:
        import ray

        _, patch = _running.pop()
        ray.shutdown()
        patch.undo()
