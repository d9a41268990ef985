"""A cluster that grows: nodes come while a run decodes, actors with them, and the nodes go again.

The autoscaler is Ray's own; its nodes are processes of this machine.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest
from cluster_tools import PATIENCE, Driver, Stage, check_whole, free_ports, ray_node
from planned_run import planned

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.long]

HEAD_CPUS, WORKER_CPUS, WORKERS = 2, 2, 2
POINTS, BLOCK = 800, 2
# As in the provider "fake_multinode", whose defaults are a file that Ray's wheels lack.
PROVIDER = {
    "type": "external",
    "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
    "use_node_id_as_ip": True,
    "disable_node_updaters": True,
    "disable_launch_config_check": True,
}
# Of machines that are set up by SSH; Ray asks for them all the same.
NOT_USED = {
    "auth": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "worker_setup_commands": [],
    "worker_start_ray_commands": [],
}


@contextmanager
def growing_cluster(stage: Stage) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of a head that starts workers, and its process."""
    port, metrics = free_ports(2)
    worker = {"CPU": WORKER_CPUS, "object_store_memory": 100_000_000}
    config = NOT_USED | {
        "cluster_name": "growing",
        "max_workers": WORKERS,
        "idle_timeout_minutes": 0.1,
        "provider": PROVIDER | {"gcs_address": f"127.0.0.1:{port}"},
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {
                "resources": {"CPU": HEAD_CPUS},
                "node_config": {},
                "max_workers": 0,
            },
            "worker": {"resources": worker, "node_config": {}, "max_workers": WORKERS},
        },
    }
    file = stage.directory / "autoscaling.json"
    file.write_text(json.dumps(config))
    env = {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "AUTOSCALER_METRIC_PORT": str(metrics),
    }
    with ray_node(stage, HEAD_CPUS, port, f"--autoscaling-config={file}", **env) as started:
        yield started


def nodes(cluster: subprocess.Popen) -> list[int]:
    """The processes of the nodes that are there, the head's own among them."""
    found = []
    for process in psutil.Process(cluster.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == "raylet":
                found.append(process.pid)
    return found


def decoders(stage: Stage) -> set[int]:
    """The processes that have decoded so far."""
    return {call["pid"] for call in stage.calls("decoder")}


def place(pid: int, cluster: subprocess.Popen) -> int | None:
    """The node that a process runs on; None where it has ended."""
    with suppress(psutil.NoSuchProcess):
        above = {parent.pid for parent in psutil.Process(pid).parents()}
        return next(iter(above.intersection(nodes(cluster))), None)
    return None


def test_a_run_takes_the_nodes_that_come(tmp_path):
    stage = Stage(tmp_path / "stage").reset(seconds=1)
    most = HEAD_CPUS + WORKERS * WORKER_CPUS
    run = planned(tmp_path / "run", POINTS, BLOCK, decoder_actors=0, max_cluster_cpus=most)
    with growing_cluster(stage) as (address, node):
        (first,) = nodes(node)
        driver = Driver(stage, "decode", run.uri, RAY_ADDRESS=address)
        driver.until(lambda: len(stage.calls("decoder")) >= 2)
        assert [place(pid, node) for pid in decoders(stage)] == [first]
        driver.until(lambda: any(place(pid, node) not in (first, None) for pid in decoders(stage)))
        (stage.directory / "seconds").write_text("0")
        code, said = driver.ends()
        assert code == 0, said
        check_whole(run)
        deadline = time.monotonic() + PATIENCE
        while nodes(node) != [first]:
            assert time.monotonic() < deadline, "the nodes stay, with nothing to do"
            time.sleep(1)
