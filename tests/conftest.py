"""For all tests: no model hub, one thread a process, no time limit on a busy machine, one Ray."""

from __future__ import annotations

import logging
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Two workers on two cores. It is read where numpy, FAISS and torch are first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Ray waits 30 s for its own processes, which a busy machine may take longer to start.
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")

import pytest
import torch
from hypothesis import settings
from local_ray import SharedRay, end_shared_ray, shared_ray

torch.set_num_threads(1)
settings.register_profile("smotext", deadline=None)
settings.load_profile("smotext")

# What takes longest begins first, so that no core is idle at the end.
LONGEST = (
    "ray",
    "cluster/test_kills.py",
    "models_real/test_end_to_end.py",
    "cluster/test_faults.py",
    "cluster/test_job_submit.py",
    "models_real/test_real_decoder.py",
    "models_real/test_one_process.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give pytest-xdist its groups, each for one worker: all that runs Ray here, and each file.

    So no two Rays of tests are started at once, and one is shared. Files with slow tests come
    before the others.
    """
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(_group_of(item), []).append(item)
    ranks = {name: _rank(name, members) for name, members in groups.items()}
    for name, members in groups.items():
        # A Ray that is shared is not ended and started again between two of those who share it.
        members.sort(key=lambda item: "shared_ray" not in item.fixturenames)
        for item in members:
            item.add_marker(pytest.mark.xdist_group(name))
    items[:] = [item for name in sorted(groups, key=ranks.get) for item in groups[name]]


def _group_of(item: pytest.Item) -> str:
    if {"shared_ray", "own_ray"}.intersection(item.fixturenames):
        return "ray"
    return str(item.path.relative_to(Path(__file__).parent))


def _rank(name: str, members: list[pytest.Item]) -> int:
    if name in LONGEST:
        return LONGEST.index(name)
    return len(LONGEST) + (not any(item.get_closest_marker("slow") for item in members))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if "shared_ray" not in item.fixturenames:
        end_shared_ray()


def pytest_sessionfinish() -> None:
    end_shared_ray()


@pytest.fixture(scope="module", name="shared_ray")
def _shared_ray(tmp_path_factory: pytest.TempPathFactory) -> SharedRay:
    """A Ray in this process, with 6 CPUs and without GPUs, for all tests that ask for it."""
    return shared_ray(tmp_path_factory.mktemp("shared-ray") / "stage")


@pytest.fixture(scope="module")
def own_ray() -> None:
    """Asked for by those who start a Ray of their own in this process: never next to another."""


@pytest.fixture
def own_log():
    """`main` sets the log up for the process: here, for one test."""
    log = logging.getLogger("smotext_ray")
    before = list(log.handlers), log.level, log.propagate
    log.handlers = []
    yield
    for handler in log.handlers:
        handler.close()
    log.handlers, log.level, log.propagate = before


@pytest.fixture
def log_at_root(monkeypatch):
    """`main` keeps the log from the root; pytest listens there, if it was so before the test."""
    monkeypatch.setattr(logging.getLogger("smotext_ray"), "propagate", True)
