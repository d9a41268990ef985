"""For all tests: no model hub, one thread a process, and no time limit on a busy machine."""

from __future__ import annotations

import logging
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Ray waits 30 s for its own processes, which a busy machine may take longer to start.
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("smotext", deadline=None)
settings.load_profile("smotext")


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
