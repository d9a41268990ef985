"""What a wheel and an sdist hold, and that the wheel works by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
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
    for name in ("pyproject.toml", "README.md", "LICENSE"):
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


def test_every_file_of_the_package_is_in_both(built):
    wheel, sdist = built
    assert "smotext_ray/py.typed" in ours()
    with zipfile.ZipFile(wheel) as packed:
        assert {name for name in packed.namelist() if name.startswith("smotext_ray/")} == ours()
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert names >= ours() | {"pyproject.toml", "README.md"}


def test_the_wheel_works_by_itself(built, tmp_path):
    zipfile.ZipFile(built[0]).extractall(tmp_path)
    code = (
        "import sys, smotext_ray; from smotext_ray import cli, models;"
        "print(smotext_ray.__file__); print(models.load_bridge('default')[0].prompt_length);"
        "sys.exit(cli.main(['doctor']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    file, prompt_length, *_ = done.stdout.splitlines()
    assert file == str(tmp_path / "smotext_ray" / "__init__.py")
    assert prompt_length == "8" and done.returncode == 0, done.stdout + done.stderr
