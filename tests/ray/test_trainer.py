"""What the one training task of a run reserves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smotext_ray.cluster.session import Cluster
from smotext_ray.cluster.trainer import MOST_CPUS, trainer_options

CLUSTER = Cluster(cpus=8, gpus=0, memory_gib=16, node_cpus=(2.0, 6.0))


@pytest.fixture(autouse=True)
def address(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")


def test_it_has_the_cores_of_the_largest_machine_up_to_a_limit():
    assert trainer_options(CLUSTER) == {"num_cpus": 6, "num_gpus": 0}
    larger = replace(CLUSTER, node_cpus=(2.0, 64.0))
    assert trainer_options(larger)["num_cpus"] == MOST_CPUS
    assert trainer_options(replace(CLUSTER, node_cpus=(0.5,)))["num_cpus"] == 1


def test_it_has_a_gpu_of_the_chosen_type_if_there_is_one():
    with_gpus = replace(CLUSTER, gpus=2, gpu_type="A100")
    assert trainer_options(with_gpus) == {
        "num_cpus": 6,
        "num_gpus": 1,
        "accelerator_type": "A100",
    }
    assert "accelerator_type" not in trainer_options(replace(CLUSTER, gpu_type="A100"))


def test_of_a_ray_started_here_it_has_each_core_once(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr("smotext_ray.cluster.trainer.usable_cores", lambda: 3)
    assert trainer_options(CLUSTER)["num_cpus"] == 3
