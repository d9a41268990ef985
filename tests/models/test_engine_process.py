"""A real engine in another process: the same answers, and its end is told at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.long]

SCRIPT = Path(__file__).parents[1] / "support" / "real_engine.py"


def run(way: str, home: Path, *given: str) -> subprocess.CompletedProcess[str]:
    """As in a Ray actor or after CUDA was used: other processes import the script again."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), way, str(home), *given],
        env=os.environ | {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"},
        capture_output=True,
        text=True,
        timeout=900,
    )


def found_by(way: str, home: Path, *given: str) -> dict[str, Any]:
    found = home / f"{'-'.join([way, *given])}.json"
    done = run(way, home, str(found), *given)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(found.read_text())


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("models")
    made = run("make", home)
    assert made.returncode == 0, made.stderr
    return home


@pytest.fixture(scope="module")
def inside(home) -> dict[str, Any]:
    return found_by("inside", home)


def test_answers_depend_on_seeds_prompts_and_lora_layers(inside):
    assert inside["sampled"] != inside["other_seeds"]
    assert len({text for texts in inside["sampled"] for text in texts}) == 12
    assert inside["greedy"] != inside["without_lora"]
    assert [bool(texts) for texts in inside["around_refused"]] == [True, False, True]


@pytest.mark.parametrize("victim", ["EngineCore", "Worker"])
def test_another_process_answers_the_same_until_it_is_killed(inside, home, victim):
    found = found_by("outside", home, victim)
    assert found.pop("open_call") == found.pop("later_call") == "EngineDead"
    assert found == {way: texts for way, texts in inside.items() if way != "without_lora"}


def test_a_script_without_a_guard_decodes_in_its_own_process(home):
    found = found_by("unguarded", home, "no")
    assert len(found["texts"]) == 6 and all(found["texts"])
    assert found["processes"] == 0


def test_another_process_would_run_such_a_script_again(home):
    done = run("unguarded", home, str(home / "never.json"), "default")
    assert done.returncode != 0
    assert "bootstrapping phase" in done.stderr
