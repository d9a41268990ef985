"""Ray ends a process that is out of memory: the sentence that ends the job can say so."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cluster_tools import without_ray

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

# Ray is told that one twentieth of the memory is all there is.
SCARCE = {"RAY_memory_usage_threshold": "0.05", "RAY_memory_monitor_refresh_ms": "200"}
ENDED = """
import time, ray
from smotext_ray.cluster.restarts import ended_for_memory

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
began = time.time()

@ray.remote
class Large:
    def wait(self):
        time.sleep(1000)

try:
    ray.get(Large.remote().wait.remote())
except ray.exceptions.OutOfMemoryError:
    while not ended_for_memory(began) and time.time() < began + 240:
        time.sleep(0.5)  # the end may not be in the table yet
    print(ended_for_memory(began), ended_for_memory(time.time() + 1))
"""


def test_processes_that_ray_ended_are_counted_from_then_on():
    told = subprocess.run(
        [sys.executable, "-c", ENDED],
        env=without_ray() | SCARCE,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert told.returncode == 0, told.stderr
    counted, later = told.stdout.split()
    assert int(counted) >= 1 and int(later) == 0
