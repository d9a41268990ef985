"""Which Ray is used: the cluster at an address, or one of this process."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest

from smotext_ray.cluster import local_ray, session
from smotext_ray.cluster.session import Cluster


@pytest.fixture(autouse=True)
def no_address(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def remote(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")


class FakeRay:
    """Records how Ray is started; says it has two nodes, one of them gone."""

    def __init__(self):
        self.given = None
        self.shutdowns = 0

    def shutdown(self):
        self.shutdowns += 1

    def is_initialized(self):
        return False

    def init(self, **options):
        self.given = options

    def cluster_resources(self):
        return {"CPU": 6.0, "GPU": 2.0, "memory": 8.0 * 1024**3}

    def nodes(self):
        return [
            {"Alive": True, "Resources": {"CPU": 6.0, "GPU": 2.0}},
            {"Alive": False, "Resources": {"GPU": 4.0}},
        ]


@pytest.fixture
def fake_ray(monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")  # which connect sets
    for module in (session, local_ray):
        monkeypatch.setattr(module, "forget_token", lambda: None)
    monkeypatch.setattr(local_ray, "_on_loopback", nullcontext)
    return fake


def test_ray_is_started_on_this_machine_even_where_another_one_runs(fake_ray, monkeypatch):
    monkeypatch.setattr(session, "usable_cores", lambda: 2)
    assert session.connect() == Cluster(6.0, 2.0, 8.0, (2.0,), node_cpus=(6.0,))
    assert fake_ray.given["address"] == "local"
    assert fake_ray.given["num_cpus"] == 6
    assert fake_ray.given["include_dashboard"] is False


def test_at_its_shutdown_the_token_is_forgotten_for_the_next_one(fake_ray, monkeypatch):
    forgotten = []
    session.connect()
    monkeypatch.setattr(local_ray, "forget_token", lambda: forgotten.append(fake_ray.shutdowns))
    fake_ray.shutdown()
    assert forgotten == [1]
    fake_ray.shutdown()  # of another Ray, which is not ours
    assert forgotten == [1] and fake_ray.shutdowns == 2


def test_a_cluster_at_an_address_is_taken_as_it_is(fake_ray, remote):
    session.connect()
    assert "num_cpus" not in fake_ray.given


def test_gpus_of_one_type_are_counted_alone(fake_ray, remote, monkeypatch):
    nodes = [
        {"Alive": True, "Resources": {"CPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 4.0, "accelerator_type:L4": 1.0}},
        {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 2.0, "accelerator_type:A100": 1.0}},
        {"Alive": False, "Resources": {"GPU": 8.0, "accelerator_type:H100": 1.0}},
    ]
    monkeypatch.setattr(fake_ray, "nodes", lambda: nodes)
    monkeypatch.setattr(session, "check_address", lambda address: None)
    found = session.connect("A100")
    assert (found.gpus, found.node_gpus) == (2.0, (0.0, 0.0, 2.0))
    assert (found.gpu_type, found.gpu_types) == ("A100", ("A100", "L4"))
    assert session.connect("T4").gpus == 0
    assert session.connect().node_gpus == (0.0, 4.0, 2.0)
