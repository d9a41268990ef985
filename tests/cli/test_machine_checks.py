"""What a machine must have, above all for a GPU; nvidia-smi and torch are made up."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smotext_ray.cli import doctor, machine_checks
from smotext_ray.cli.checks import Check, print_checks
from smotext_ray.cli.machine_checks import Gpu, free_memory, nvidia_gpus
from smotext_ray.config.load import load_config

H200 = "NVIDIA H200, 580.95.05, 9.0"


def made_torch(cuda: str | None = "13.0", *capabilities: tuple[int, int]) -> Any:
    """A torch of a CUDA build that can use a GPU of each of these capabilities."""
    return SimpleNamespace(
        __version__="2.13.0",
        version=SimpleNamespace(cuda=cuda, hip=None),
        cuda=SimpleNamespace(
            is_available=lambda: bool(capabilities),
            device_count=lambda: len(capabilities),
            get_device_name=lambda i: f"GPU {i}",
            get_device_capability=lambda i: capabilities[i],
        ),
    )


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory of programs: no compiler, no nvidia-smi."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.delenv("CC", raising=False)
    return directory


def add_program(directory: Path, name: str, script: str = "") -> None:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def says(directory: Path, *gpus: str) -> None:
    """nvidia-smi, that names these GPUs."""
    add_program(directory, "nvidia-smi", "\n".join(f"echo '{gpu}'" for gpu in gpus))


def look(monkeypatch: pytest.MonkeyPatch, torch: Any, dtype: str = "auto") -> dict[str, Check]:
    monkeypatch.setattr(machine_checks, "import_torch", lambda: (torch, ""))
    return {check.name: check for check in machine_checks.machine_checks(Path("/"), dtype)}


def test_a_machine_without_a_gpu_is_not_asked_for_a_compiler(programs, monkeypatch):
    assert not {"NVIDIA driver", "compute capability", "C compiler"} & set(
        look(monkeypatch, made_torch(None))
    )


def test_a_gpu_machine_that_has_all(programs, monkeypatch):
    says(programs, H200)
    add_program(programs, "gcc")
    checks = look(monkeypatch, made_torch("13.0", (9, 0)))
    assert [check for check in checks.values() if check.stops] == []
    assert checks["NVIDIA driver"].found == "580.95.05"
    assert checks["compute capability"].found == "9.0"
    assert checks["C compiler"].found == str(programs / "gcc")


def test_triton_needs_a_compiler_and_python_h(programs, monkeypatch, tmp_path):
    says(programs, H200)
    found = look(monkeypatch, made_torch("13.0", (9, 0)))["C compiler"]
    assert found.stops and found.found == "none" and "apt install gcc python3-dev" in found.fix
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    assert look(monkeypatch, made_torch("13.0", (9, 0)))["C compiler"].stops
    add_program(programs, "clang")
    monkeypatch.setenv("CC", "clang -O2")
    assert look(monkeypatch, made_torch("13.0", (9, 0)))["C compiler"].ok
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    found = look(monkeypatch, made_torch("13.0", (9, 0)))["C compiler"]
    assert found.stops and f"{tmp_path / 'Python.h'} is missing" in found.found


@pytest.mark.parametrize(
    ("driver", "cuda", "least"),
    [("575.51.03", "13.0", "580"), ("515.65.01", "12.8", "525"), ("418.40", "11.8", "450")],
)
def test_an_old_driver_is_told_with_the_one_to_install(programs, monkeypatch, driver, cuda, least):
    says(programs, f"NVIDIA A100, {driver}, 8.0")
    found = look(monkeypatch, made_torch(cuda))["NVIDIA driver"]
    assert found.stops and f"older than the {least}" in found.found
    assert f"CUDA {cuda}" in found.found
    assert found.fix == f"install NVIDIA driver {least} or newer"
    # With CUDA's forward compatibility libraries torch computes there all the same.
    assert not look(monkeypatch, made_torch(cuda, (8, 0)))["NVIDIA driver"].stops


@pytest.mark.parametrize(("driver", "cuda"), [("580.65.06", "13.0"), ("570.1", "12.9")])
def test_a_driver_that_is_new_enough(programs, monkeypatch, driver, cuda):
    says(programs, f"NVIDIA A100, {driver}, 8.0")
    assert look(monkeypatch, made_torch(cuda, (8, 0)))["NVIDIA driver"].ok


def test_a_version_that_is_none_is_not_judged(programs, monkeypatch):
    says(programs, "GRID, [N/A], 8.0")
    assert look(monkeypatch, made_torch("13.0", (8, 0)))["NVIDIA driver"].ok


@pytest.mark.parametrize(
    ("capability", "dtype", "stops", "word"),
    [
        ((7, 0), "auto", True, "7.0"),
        ((7, 5), "auto", False, "decodes in float16"),
        ((7, 5), "float16", False, "decodes in float16"),
        ((7, 5), "bfloat16", True, "without bfloat16"),
        ((8, 0), "bfloat16", False, "8.0"),
    ],
)
def test_what_the_gpu_computes_in(programs, monkeypatch, capability, dtype, stops, word):
    # One GPU that is too old decides: an actor may come to it.
    torch = made_torch("13.0", (9, 0), capability)
    found = look(monkeypatch, torch, dtype)["compute capability"]
    assert found.stops == stops and word in found.found
    assert bool(found.fix) == stops


def test_the_capability_is_known_where_torch_cannot_use_the_gpu(programs, monkeypatch):
    says(programs, "Tesla V100-SXM2, 535.54, 7.0")
    checks = look(monkeypatch, made_torch("13.0"))
    assert checks["compute capability"].stops and checks["NVIDIA driver"].stops
    assert "there is a GPU, but torch cannot use it" in checks["accelerator"].found


def test_the_preset_s_dtype_counts(programs, monkeypatch):
    torch = made_torch("13.0", (7, 5))
    monkeypatch.setattr(machine_checks, "import_torch", lambda: (torch, ""))
    config = load_config("offline", overrides=["decoder.dtype=bfloat16"])
    checks = {check.name: check for check in doctor.diagnose(config)}
    assert "decoder.dtype=float16" in checks["compute capability"].fix


def test_gpus_as_nvidia_smi_tells_them(programs):
    assert nvidia_gpus() == []
    says(programs, H200, "NVIDIA L4, 580.95.05, 8.9")
    assert nvidia_gpus() == [
        Gpu("NVIDIA H200", "580.95.05", (9, 0)),
        Gpu("NVIDIA L4", "580.95.05", (8, 9)),
    ]


def test_an_nvidia_smi_that_does_not_know_capabilities(programs):
    script = 'case "$1" in *compute_cap*) exit 2;; esac; echo "Tesla K80, 470.82"'
    add_program(programs, "nvidia-smi", script)
    assert nvidia_gpus() == [Gpu("Tesla K80", "470.82", None)]


def test_an_nvidia_smi_that_fails_or_hangs_tells_of_no_gpu(programs, monkeypatch):
    add_program(programs, "nvidia-smi", "echo 'Failed to initialize NVML'; exit 9")
    assert nvidia_gpus() == []
    monkeypatch.setattr(machine_checks, "SMI_SECONDS", 0.2)
    add_program(programs, "nvidia-smi", "while true; do :; done")
    assert nvidia_gpus() == []


def test_gpus_are_named(monkeypatch):
    assert look(monkeypatch, made_torch("13.0", (9, 0), (8, 9)))["accelerator"].found == (
        "GPU 0, GPU 1"
    )


def test_too_little_memory_and_disk(monkeypatch):
    monkeypatch.setattr(machine_checks, "free_memory", lambda: 1 << 30)
    monkeypatch.setattr(
        machine_checks.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 29)
    )
    checks = look(monkeypatch, None)
    assert checks["free memory"].found == "1.0 GiB"
    assert "4.0 GiB" in checks["free memory"].fix
    assert checks["free disk"].stops
    assert not checks["/dev/shm"].ok
    assert not checks["/dev/shm"].needed  # Ray then keeps its objects on disk


def test_memory_of_a_container_counts(monkeypatch):
    files = {
        "/proc/meminfo": "MemTotal: 4000 kB\nMemAvailable: 3000 kB\n",
        "/sys/fs/cgroup/memory.max": "2048000\n",
        "/sys/fs/cgroup/memory.current": "1024000\n",
        "/sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 24000\n",
    }
    monkeypatch.setattr(Path, "read_text", lambda self: files[str(self)])
    assert free_memory() == 1_048_000
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert free_memory() == 3_072_000


def test_the_report_lists_every_check_and_every_fix(capsys):
    long_fix = "pip install 'ray[data]>=2.60' " + "and so on " * 20
    print_checks(
        [
            Check("Python", "3.11", True),
            Check("ray", "not installed", False, long_fix),
            Check("/dev/shm", "64 MiB", False, "make it larger", needed=False),
        ]
    )
    out = capsys.readouterr().out
    for word in ("Python", "3.11", "FIX", "note", "cannot run here yet"):
        assert word in out
    assert f"  ray: {long_fix}\n" in out  # whole and in one line, brackets included
    assert out.index("cannot run here yet") < out.index("Optional:")


def test_the_report_of_a_machine_that_has_all(capsys):
    print_checks([Check("Python", "3.11", True)])
    assert "Ready: `smotext augment` can run here." in capsys.readouterr().out
