"""What a wheel and an sdist hold, and that the wheel works by itself."""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOOKS = "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The wheel and the sdist, made as `python -m build` makes them."""
    source = tmp_path_factory.mktemp("package") / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "smotext_ray", source / "smotext_ray", ignore=ignore)
    shutil.copytree(ROOT / "tests", source / "tests", ignore=ignore)
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-c", HOOKS], cwd=source, check=True, capture_output=True)
    (wheel,), (sdist,) = (list((source / "dist").glob(kind)) for kind in ("*.whl", "*.tar.gz"))
    return wheel, sdist


def ours() -> set[str]:
    """All files of the package."""
    files = (ROOT / "smotext_ray").rglob("*")
    return {
        str(file.relative_to(ROOT))
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    }


NEEDED = [
    "py.typed",
    "config/presets/offline.yaml",
    "models/default_bridge/config.json",
    "models/default_bridge/bridge.safetensors",
    "models/default_bridge/replay.txt",
    "evaluation/report/assets/*",
    "privacy/*.safetensors",
]


def test_every_file_of_the_package_is_in_both_and_nothing_else(built):
    wheel, sdist = built
    for pattern in NEEDED:
        assert fnmatch.filter(ours(), f"smotext_ray/{pattern}"), pattern
    with zipfile.ZipFile(wheel) as packed:
        inside = {name for name in packed.namelist() if ".dist-info/" not in name}
    assert inside == ours()
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert names >= ours() | {"pyproject.toml", "README.md"}
    assert not any(name.startswith("tests") for name in names)  # some without their helpers


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The programs of an environment with the wheel; the libraries are those of this one."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", place / "bin" / "python"]
    install = [*pip, "install", "--quiet", "--no-compile", "--no-deps", "--no-index", built[0]]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = place.glob("lib/python*/site-packages")
    # Of what is named in a .pth no other .pth is read: so this clone's editable install is not.
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return place / "bin"


def run(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [program, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=300
    )


def test_the_wheel_is_what_is_installed(installed, tmp_path):
    code = (
        "import smotext_ray; from smotext_ray.models.load import load_bridge;"
        "print(smotext_ray.__file__);"
        "print(load_bridge('default')[0].prompt_length)"
    )
    file, prompt_length = run(installed / "python", "-c", code, cwd=tmp_path).stdout.split()
    assert file.startswith(str(installed.parent)) and prompt_length == "8"


def test_its_program_works_in_an_empty_directory(installed, tmp_path):
    helped = run(installed / "smotext", "--help", cwd=tmp_path)
    assert helped.returncode == 0 and "augment" in helped.stdout
    looked = run(installed / "smotext", "doctor", cwd=tmp_path)
    assert looked.returncode == 0, looked.stdout + looked.stderr
    rows = [f"text {i} on {label},{label}" for label in ("a", "b") for i in range(4)]
    (tmp_path / "corpus.csv").write_text("\n".join(["text,label", *rows, "one more,a"]))
    dry = ("augment", "--input", "corpus.csv", "--preset", "offline", "--dry-run")
    planned = run(installed / "smotext", *dry, cwd=tmp_path)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["corpus.csv"]
