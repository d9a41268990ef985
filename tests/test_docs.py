"""The documents build without a warning, and what they name is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from smotext_ray.config.schema import RunConfig

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "site"
    assert "fit_resample" in (site / "reference" / "index.html").read_text()
    for page in PAGES:
        name = "" if page.stem == "index" else page.stem
        assert (site / name / "index.html").exists()


def test_every_page_is_in_the_navigation():
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(file for entry in navigation for file in entry.values()) == [
        page.name for page in PAGES
    ]


def test_every_setting_is_in_the_page_of_settings():
    page = (ROOT / "docs" / "settings.md").read_text()
    sections = {name: getattr(RunConfig(), name) for name in RunConfig.model_fields}
    every = {f"{name}.{key}" for name in sections for key in type(sections[name]).model_fields}
    assert {name for name in every if f"`{name}`" not in page} == set()


def test_every_example_is_a_tutorial():
    page = (ROOT / "docs" / "tutorials.md").read_text()
    shown = re.findall(r'^--8<-- "(.+)"$', page, re.MULTILINE)
    assert sorted(shown) == sorted(
        f"examples/{file.name}" for file in (ROOT / "examples").glob("*.py")
    )


@pytest.mark.parametrize("file", [ROOT / "README.md", *PAGES], ids=lambda file: file.name)
def test_every_setting_that_is_named_is_there(file):
    config = RunConfig()
    named = re.findall(r"\b([a-z]+)\.([a-z_0-9]+)(?==|`| of |,)", file.read_text())
    sections = {name: getattr(config, name) for name in RunConfig.model_fields}
    wrong = {
        f"{section}.{key}"
        for section, key in named
        if section in sections and key not in type(sections[section]).model_fields
    }
    # Files of the package are called as sections are.
    assert {name for name in wrong if not name.endswith(".py")} == set()
