"""Installed versions compared with those that were tested together."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from smotext_ray.cli.lock_check import LOCKS, lock_checks, locked_versions

LOCK = """\
# made by: uv pip compile
numpy=={numpy} \\
    --hash=sha256:00
    # via pandas
ray[data,default]==2.60.0 ; sys_platform == "linux" \\
    --hash=sha256:11
not-here==1.0
"""


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def write(locks: Path, content: str) -> None:
    locks.mkdir(exist_ok=True)
    file = locks / f"cpu-py{sys.version_info[0]}{sys.version_info[1]}.txt"
    file.write_text(content)


def test_a_lock_is_read_without_hashes_extras_and_markers(tmp_path):
    file = tmp_path / "lock.txt"
    file.write_text(LOCK.format(numpy="2.3.5"))
    assert locked_versions(file) == {"numpy": "2.3.5", "ray": "2.60.0", "not-here": "1.0"}


def test_without_a_lock_there_is_no_row(locks):
    assert lock_checks("cpu", locks) == []
    write(locks, "")
    assert lock_checks("gpu", locks) == []


def test_the_tested_versions(locks, monkeypatch):
    installed = {"numpy": "2.3.5", "ray": "2.60.0"}

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "version", version)
    write(locks, LOCK.format(numpy="2.3.5"))
    (found,) = lock_checks("cpu", locks)
    assert found.ok and "locks/cpu-py3" in found.found
    installed |= {"numpy": "2.4.6"}
    (found,) = lock_checks("cpu", locks)
    assert not found.ok and not found.needed
    assert found.found == "numpy 2.4.6 (tested: 2.3.5)"
    assert "make venv EXTRA=cpu" in found.fix


def test_torch_has_a_lock_of_its_own(locks, monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: {"torch": "2.13.0"}.get(name, "2.3.5"))
    write(locks, "numpy==2.3.5\n")
    (locks / "torch-cpu.txt").write_text("torch==2.13.0+cpu\n")
    (found,) = lock_checks("cpu", locks)
    assert found.found == "torch 2.13.0 (tested: 2.13.0+cpu)"


def test_many_others_are_counted(locks, monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "2")
    write(locks, "".join(f"package{i}==1\n" for i in range(8)))
    (found,) = lock_checks("cpu", locks)
    assert found.found.endswith("package4 2 (tested: 1) and 3 more")


def test_locks_are_those_of_the_checkout():
    assert (Path(__file__).parents[2] / "locks") == LOCKS
