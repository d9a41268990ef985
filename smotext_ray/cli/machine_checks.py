"""Machine checks of `smotext doctor`: memory, disk, and GPU requirements.

Uses only the standard library, and torch for GPU checks, so that a task can run it on any node of a
cluster.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from smotext_ray.cli.checks import GIB, Check, gib
from smotext_ray.errors import one_line
from smotext_ray.utils.cpu import usable_cores

MIN_MEMORY = 4 * GIB  # vLLM with a small LLM, an encoder, and Ray
MIN_DISK = 2 * GIB  # Ray's session, the converted LLM, and the run
MIN_SHM = 1 * GIB
# The oldest driver for each CUDA major version (NVIDIA's release notes).
MIN_DRIVER = {"11": "450", "12": "525", "13": "580"}
MIN_CAPABILITY = (7, 5)  # vLLM's wheels have no code for older GPUs
BFLOAT16_CAPABILITY = (8, 0)
SMI_SECONDS = 20  # nvidia-smi hangs if the driver is broken


@dataclass(frozen=True)
class Gpu:
    """A GPU as reported by nvidia-smi.

    Attributes
    ----------
    name : str
    driver : str
        Version of the driver, such as ``580.95.05``.
    capability : tuple of two int, or None
        None if the driver is too old to report it.
    """

    name: str
    driver: str
    capability: tuple[int, int] | None


def machine_checks(cache: Path, dtype: str = "auto") -> list[Check]:
    """Checks of this machine; GPU checks only if it has one and torch is built for it.

    Parameters
    ----------
    cache : Path
        Directory of converted models, which need space.
    dtype : str, default="auto"
        The dtype in which the LLM decodes.
    """
    torch, _ = import_torch()
    gpus = nvidia_gpus()
    usable = torch is not None and bool(torch.cuda.is_available())
    cuda = torch.version.cuda if torch is not None else None
    checks = [accelerator(torch, gpus)]
    if cuda is not None and gpus:
        checks.append(driver(gpus, cuda, usable))
    if cuda is not None and (gpus or usable):
        checks += [capability(_capabilities(torch, gpus, usable), dtype), compiler()]
    return [*checks, memory(), disk(cache), shared_memory()]


def nvidia_gpus() -> list[Gpu]:
    """The GPUs known to the driver; empty if there is no driver or it does not answer."""
    if shutil.which("nvidia-smi") is None:
        return []
    for fields in ("name,driver_version,compute_cap", "name,driver_version"):
        command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=SMI_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            return []
        if said.returncode == 0:
            return [_gpu(line) for line in said.stdout.splitlines() if line.count(",") >= 1]
    return []


def accelerator(torch: Any, gpus: Sequence[Gpu]) -> Check:
    """The GPUs that torch can use, or the CPU cores; ``torch`` may be None."""
    if torch is not None and torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Check("accelerator", ", ".join(names), True)
    found = f"CPU, {usable_cores()} cores"
    if gpus or shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists():
        fix = "for the GPU of this machine, install CUDA builds: make venv EXTRA=gpu"
        return Check("accelerator", f"{found}; there is a GPU, but torch cannot use it", True, fix)
    return Check("accelerator", found, True)


def driver(gpus: Sequence[Gpu], cuda: str, usable: bool) -> Check:
    """Check that the driver supports torch's CUDA version.

    Parameters
    ----------
    gpus : sequence of Gpu, length n >= 1
    cuda : str
        ``torch.version.cuda``.
    usable : bool
        Whether torch can use the GPU anyway, through CUDA's forward compatibility libraries.
    """
    installed = gpus[0].driver
    least = MIN_DRIVER.get(cuda.partition(".")[0])
    try:
        old = least is not None and Version(installed) < Version(least)
    except InvalidVersion:  # "[N/A]" for a paravirtualized GPU
        return Check("NVIDIA driver", f"{installed}: version unknown", True)
    if not old:
        return Check("NVIDIA driver", installed, True)
    found = f"{installed}, older than the {least} that torch's CUDA {cuda} needs"
    fix = f"install NVIDIA driver {least} or newer"
    return Check("NVIDIA driver", found, False, fix, needed=not usable)


def capability(capabilities: Sequence[tuple[int, int]], dtype: str) -> Check:
    """Check that vLLM supports these GPUs, and that they support ``dtype``."""
    name = "compute capability"
    if not capabilities:
        return Check(name, "unknown", True)
    lowest = min(capabilities)
    found = f"{lowest[0]}.{lowest[1]}"
    if lowest < MIN_CAPABILITY:
        fix = (
            "use a GPU with compute capability 7.5 (Turing) or newer: "
            "vLLM does not support this one"
        )
        return Check(name, found, False, fix)
    if lowest < BFLOAT16_CAPABILITY:
        if dtype == "bfloat16":
            fix = "set decoder.dtype=float16: GPUs below 8.0 do not support bfloat16"
            return Check(name, f"{found}, without bfloat16", False, fix)
        return Check(name, f"{found}, without bfloat16: decodes in float16", True)
    return Check(name, found, True)


def compiler() -> Check:
    """Check for a C compiler and Python.h, which Triton needs to build kernel launchers."""
    name = "C compiler"
    found, header = c_compiler(), python_header()
    fix = "install gcc and Python's headers, for example: apt install gcc python3-dev"
    if not found:
        return Check(name, "none", False, fix)
    if not header.exists():
        return Check(name, f"{found}, but {header} is missing", False, fix)
    return Check(name, found, True)


def c_compiler() -> str:
    """The compiler that Triton would use; empty if there is none."""
    asked = os.environ.get("CC")
    if asked:
        # May include arguments, such as "ccache gcc".
        return asked if shutil.which(asked.split()[0]) else ""
    return shutil.which("gcc") or shutil.which("clang") or ""


def python_header() -> Path:
    """The path of this interpreter's Python.h, which may not exist."""
    return Path(sysconfig.get_paths()["include"]) / "Python.h"


def memory() -> Check:
    """Check the memory available to new processes."""
    free = free_memory()
    if free is None:
        return Check("free memory", "unknown", True)
    ok = free >= MIN_MEMORY
    fix = "" if ok else f"stop other programs: at least {gib(MIN_MEMORY)} is needed"
    return Check("free memory", gib(free), ok, fix)


def disk(cache: Path) -> Check:
    """Check free disk space for runs, Ray and the model cache; the smallest counts."""
    free, place = free_disk(cache)
    ok = free >= MIN_DISK
    fix = "" if ok else f"free up space in {place}: at least {gib(MIN_DISK)} is needed"
    return Check("free disk", f"{gib(free)} in {place}", ok, fix)


def shared_memory() -> Check:
    """Check /dev/shm, where Ray keeps objects; it uses the disk (slower) if that is too small."""
    shm = Path("/dev/shm")
    if not shm.is_dir():
        return Check("/dev/shm", "none; Ray keeps its objects on disk", True)
    free = shutil.disk_usage(shm).free
    if free < MIN_SHM:
        fix = f"increase it to {gib(MIN_SHM)} or more; in a container: --shm-size=2g"
        return Check("/dev/shm", f"{gib(free)} free", False, fix, needed=False)
    return Check("/dev/shm", f"{gib(free)} free", True)


def free_memory() -> int | None:
    """Bytes available to new processes: the machine's, or the container's if lower."""
    candidates = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        candidates.append(sizes["MemAvailable"])
    except (OSError, KeyError):
        pass
    cgroup = Path("/sys/fs/cgroup")
    try:
        limit = int((cgroup / "memory.max").read_text())  # ValueError for "max", no limit
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        candidates.append(limit - used + int(stat["inactive_file"]))
    except (OSError, KeyError, ValueError):
        pass
    return min(candidates, default=None)


def free_disk(cache: Path) -> tuple[int, str]:
    """Free bytes, and the directory that has the least."""
    wanted = (Path.cwd(), Path(tempfile.gettempdir()), cache)
    places = [existing(path) for path in wanted]
    return min((shutil.disk_usage(path).free, str(path)) for path in places)


def existing(path: Path) -> Path:
    """The path itself, or the nearest parent that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def import_torch() -> tuple[Any, str]:
    """torch, or None and the error; a broken build may raise anything."""
    try:
        import torch
    except Exception as error:
        return None, one_line(error)
    return torch, ""


def _capabilities(torch: Any, gpus: Sequence[Gpu], usable: bool) -> list[tuple[int, int]]:
    """Compute capabilities of the GPUs torch can use (see CUDA_VISIBLE_DEVICES), else of all."""
    if usable:
        count = torch.cuda.device_count()
        return [tuple(torch.cuda.get_device_capability(i)) for i in range(count)]
    return [gpu.capability for gpu in gpus if gpu.capability is not None]


def _gpu(line: str) -> Gpu:
    name, version, *rest = (part.strip() for part in line.split(","))
    major, dot, minor = rest[0].partition(".") if rest else ("", "", "")
    told = bool(dot) and major.isdigit() and minor.isdigit()
    return Gpu(name, version, (int(major), int(minor)) if told else None)
