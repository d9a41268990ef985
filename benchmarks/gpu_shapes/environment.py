"""The machine: what `smotext doctor` asks of it, and versions."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "triton",
    "transformers",
    "peft",
    "pyarrow",
    "numpy",
    "pydantic",
    "vllm",
    "ray",
)


def measure(toy: bool, home: Path) -> dict[str, Any]:
    """Driver, compiler and the like, as doctor sees them."""
    import torch

    from smotext_ray.cli.machine_checks import machine_checks

    checks = {check.name: asdict(check) for check in machine_checks(home)}
    versions = {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()}
    tools = {name: _first_line(name) for name in ("nvcc", "ninja", "gcc")}
    on_gpu = torch.cuda.is_available()
    gpu = {
        "cuda": torch.version.cuda,
        "bfloat16": on_gpu and torch.cuda.is_bf16_supported(),
        "gib": torch.cuda.get_device_properties(0).total_memory / 2**30 if on_gpu else 0.0,
    }
    wrong = [f"{name}: {told['found']}" for name, told in checks.items() if not told["ok"]]
    line = ", ".join(
        [
            checks["accelerator"]["found"],
            f"driver {checks.get('NVIDIA driver', {}).get('found', 'none')}",
            f"torch {versions['torch']} (CUDA {gpu['cuda']})",
            *(wrong or ["doctor finds nothing to fix"]),
        ]
    )
    return {"line": line, "checks": checks, "versions": versions, "tools": tools, "gpu": gpu}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _first_line(program: str) -> str | None:
    if shutil.which(program) is None:
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True)
    # nvcc's own version is in its last line.
    lines = said.stdout.strip().splitlines() or [""]
    return lines[-1] if program == "nvcc" else lines[0]
