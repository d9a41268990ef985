"""The files that people start clusters and jobs with."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parent.parent
JOBS = ROOT / "jobs"
CLUSTERS = [ROOT / "cluster.yaml", JOBS / "on-premise.yaml"]
MANIFESTS = sorted((JOBS / "kuberay").glob("ray*.yaml"))
RAY = re.search(r"^ray==(\S+)", (ROOT / "locks/gpu-py312.txt").read_text(), re.MULTILINE)[1]
COMMANDS = {
    "augment.py": "augment",
    "evaluate.py": "evaluate",
    "expand.py": "expand",
    "train_bridge.py": "train-bridge",
}


def prepared(file: Path) -> dict:
    """The cluster as `ray up` sees it: with Ray's defaults, after all of its own checks."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = prepare_config(yaml.safe_load(file.read_text()))
    validate_config(cluster)
    return cluster


@pytest.mark.parametrize("file", CLUSTERS, ids=lambda file: file.name)
def test_ray_takes_the_cluster_and_starts_all_of_it_with_a_token(file):
    cluster = prepared(file)
    for role in ("head", "worker"):
        starts = [line for line in cluster[f"{role}_start_ray_commands"] if "ray start" in line]
        assert starts and all("RAY_AUTH_MODE=token" in line for line in starts)
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for mounted in set(cluster["file_mounts"].values()) - {"~/.ray/auth_token"}:
        assert (ROOT / mounted).exists(), mounted


def test_the_aws_cluster_keeps_within_its_bounds_and_has_gpus_when_a_job_counts_them():
    cluster = prepared(CLUSTERS[0])
    types = cluster["available_node_types"]
    assert types["gpu"]["min_workers"] >= 1
    assert types["gpu_spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert sum(kind["max_workers"] for kind in types.values()) <= cluster["max_workers"]
    assert cluster["provider"]["security_group"]["IpPermissions"][0]["FromPort"] == 22
    assert len(cluster["provider"]["security_group"]["IpPermissions"]) == 1


def test_all_machines_of_the_on_premise_cluster_join():
    cluster = prepared(CLUSTERS[1])
    (machines,) = cluster["available_node_types"].values()
    assert machines["min_workers"] == len(cluster["provider"]["worker_ips"])


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_the_manifests_fit_kuberays_schema(file):
    manifest = yaml.safe_load(file.read_text())
    schema = yaml.safe_load((Path(__file__).parent / "support" / "kuberay_schema.yaml").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(manifest, schema)
    spec = cluster_spec(manifest)
    assert spec["rayVersion"] == RAY
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_manifests_describe_one_cluster_and_hold_no_secrets():
    assert len(MANIFESTS) == 3
    specs = [cluster_spec(yaml.safe_load(file.read_text())) for file in MANIFESTS]
    assert specs[0] == specs[1] == specs[2]
    for file in MANIFESTS:
        assert not re.search(r"(?i)(secret_access_key|password|auth_token)\W", file.read_text())


def test_pods_have_the_least_rights_and_only_the_head_has_kubernetes_api():
    spec = cluster_spec(yaml.safe_load(MANIFESTS[0].read_text()))
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["runAsNonRoot"] and not rights["allowPrivilegeEscalation"]
            assert rights["capabilities"] == {"drop": ["ALL"]}
        is_head = group is groups[0]
        assert pod.get("automountServiceAccountToken", True) == is_head


def test_the_network_policy_admits_the_cluster_itself_and_those_who_submit_jobs():
    policy = yaml.safe_load((JOBS / "kuberay" / "network-policy.yaml").read_text())
    assert (policy["apiVersion"], policy["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    spec = policy["spec"]
    ray = {"matchLabels": {"ray.io/is-ray-node": "yes"}}
    assert spec["podSelector"] == ray and spec["policyTypes"] == ["Ingress"]
    each_other, submitters = spec["ingress"]
    assert each_other == {"from": [{"podSelector": ray}]}
    assert submitters["ports"] == [{"protocol": "TCP", "port": 8265}]
    # An empty selector, or a namespace without a pod, would admit everyone there.
    assert all(source["podSelector"] for source in submitters["from"])


def test_workers_on_aws_have_a_role_of_their_own_and_its_keys_cannot_be_asked_for_from_outside():
    types = yaml.safe_load(CLUSTERS[0].read_text())["available_node_types"]
    head = types.pop("head")["node_config"]
    for kind in types.values():
        node = kind["node_config"]
        assert node["IamInstanceProfile"] != head["IamInstanceProfile"]
        assert node["MetadataOptions"]["HttpTokens"] == "required"
        assert node["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]
    assert head["MetadataOptions"]["HttpTokens"] == "required"


def test_files_with_keys_are_neither_committed_nor_uploaded(tmp_path):
    """As git and Ray read the files that say so."""
    from ray._private.runtime_env.packaging import create_package

    excludes = yaml.safe_load((JOBS / "runtime_env.yaml").read_text())["excludes"]
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    names = ["bucket.env", "deep/other.env", "auth_token", "code.py"]
    for name in names:
        (tree / name).write_text("x")
    create_package(str(tree), tmp_path / "a.zip", include_gitignore=False, excludes=excludes)
    with zipfile.ZipFile(tmp_path / "a.zip") as package:
        kept = {Path(name).name for name in package.namelist() if not name.endswith("/")}
    assert kept == {"code.py"}
    (tree / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    subprocess.run(["git", "init", "-q", tree], check=True)
    ignored = subprocess.run(
        ["git", "-C", tree, "check-ignore", *names], capture_output=True, text=True
    )
    assert ignored.stdout.split() == names[:3]


def cluster_spec(manifest: dict) -> dict:
    spec = manifest["spec"]
    spec = spec.get("jobTemplate", spec)
    return spec.get("rayClusterSpec", spec)


def test_jobs_on_kubernetes_stop_as_those_that_are_submitted():
    submitted = yaml.safe_load((JOBS / "runtime_env.yaml").read_text())["env_vars"]
    for name in ("rayjob", "raycronjob"):
        spec = yaml.safe_load((JOBS / "kuberay" / f"{name}.yaml").read_text())["spec"]
        spec = spec.get("jobTemplate", spec)
        assert yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"] == submitted
        program, *arguments = spec["entrypoint"].split()[1:]
        assert program.startswith("/home/ray/smotext-ray/jobs/")
        parse([COMMANDS[Path(program).name], *arguments])


def parse(arguments: list[str]) -> None:
    from smotext_ray.cli.main import _parser

    _parser().parse_args(arguments)


def test_the_schedules_start_a_command_that_exists():
    service = (JOBS / "schedule/smotext-expand.service").read_text()
    command = re.search(r"^ExecStart=\S+/smotext (.+)$", service, re.MULTILINE)
    parse(command[1].split())
    cron = (JOBS / "schedule/smotext-expand.cron").read_text().splitlines()
    line = re.fullmatch(r'(\S+ ){5}flock .* "\$SMOTEXT" (.+) >> .*', cron[-1])
    parse(line[2].split())


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_the_units(tmp_path):
    for unit in (JOBS / "schedule").glob("smotext-expand.[st][ei]*"):
        # It asks that the program be there.
        text = unit.read_text().replace("/opt/smotext-ray/.venv/bin/smotext", shutil.which("true"))
        (tmp_path / unit.name).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    assert len(units) == 2
    verified = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert verified.returncode == 0, verified.stderr
    assert not verified.stderr


@pytest.mark.parametrize("file", sorted(COMMANDS))
@pytest.mark.parametrize("code, expected", [(0, 0), (1, 1), (2, 2), (3, 0)])
def test_a_job_hands_on_its_arguments_and_a_run_that_fell_short_has_succeeded(
    file, code, expected, monkeypatch, capsys
):
    called = []
    monkeypatch.setattr("smotext_ray.cli.main.main", lambda given: called.append(given) or code)
    monkeypatch.setattr(sys, "argv", [file, "--input", "a b"])
    monkeypatch.syspath_prepend(JOBS)
    sys.modules.pop("entry", None)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(JOBS / file), run_name="__main__")
    finally:
        sys.modules.pop("entry", None)
    assert called == [[COMMANDS[file], "--input", "a b"]]
    assert ended.value.code == expected
    assert ("short of a target" in capsys.readouterr().out) == (code == 3)


def test_the_job_takes_the_arguments_of_augment(tmp_path):
    arguments = ["--input", tmp_path / "none.csv", "--output", tmp_path / "run"]
    job = subprocess.run(
        [sys.executable, JOBS / "augment.py", *arguments], capture_output=True, text=True
    )
    assert job.returncode == 2
    assert "does not exist" in job.stderr


def test_each_job_is_a_file_of_its_own():
    assert {file.name for file in JOBS.glob("*.py")} == {*COMMANDS, "entry.py"}
