"""Real models in one process: ``smotext interpolate``, then the examples that use its engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
TEXTS = ["Where is the nearest cash machine?", "The camera is terrible in the dark."]
# The decoder's settings are those of the examples, so that they find it loaded.
SETTINGS = ["decoder.num_candidates=2", "decoder.max_tokens=64"]
INTERPOLATE = ["interpolate", *TEXTS, *SETTINGS, "--lam", "0", "1"]
PARTS = ("interpolate", "cross_validate.py", "balance_table.py", "several_labels.py", "exit")
LINE = "-" * 80 + "\n"
SCRIPT = """
import runpy, sys
from smotext_ray.api.loaded import _loaded_decoder
from smotext_ray.cli.main import main

line, examples, *interpolate = sys.argv[1:]
assert main(interpolate) == 0
for file in [*examples.split(), None]:
    for stream in (sys.stdout, sys.stderr):
        print(line, end="", file=stream, flush=True)
    if file:
        runpy.run_path(file, run_name="__main__")
assert _loaded_decoder.cache_info().misses == 1
"""


@pytest.fixture(scope="module")
def said() -> dict[str, tuple[str, str]]:
    """What each part prints on stdout and stderr; the last one when the process exits."""
    examples = " ".join(str(EXAMPLES / name) for name in PARTS[1:-1])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, LINE, examples, *INTERPOLATE],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    parts = zip(done.stdout.split(LINE), done.stderr.split(LINE), strict=True)
    return dict(zip(PARTS, parts, strict=True))


def test_two_texts_come_back_at_the_ends_and_nothing_else_is_printed(said):
    out, errors = said["interpolate"]
    assert errors == ""
    first, last = [[part.strip() for part in line.split("│")] for line in out.splitlines()[-2:]]
    assert (first[0], last[0]) == ("0", "1")
    assert float(first[1]) > 0.6 and float(last[1]) > 0.6
    assert "machine" in first[2].lower()
    assert {"camera", "picture", "dark", "terrible"} & set(last[2].lower().rstrip(".").split())


def test_a_pipeline_with_the_sampler_is_cross_validated(said):
    out, _ = said["cross_validate.py"]
    scores = re.findall(r"^(.+): macro-F1 (0\.\d+), by fold", out, re.MULTILINE)
    assert [name for name, _ in scores] == ["real texts alone", "with SMOTExT"]
    # Texts of the rare class that are about nothing would spoil it; chance is a third.
    assert all(float(score) > 0.5 for _, score in scores)


def test_a_table_is_balanced_and_a_classifier_trained(said):
    out, _ = said["balance_table.py"]
    assert "68 texts became 80" in out
    scores = re.findall(r"^(.+): macro-F1 ([01]\.\d+)$", out, re.MULTILINE)
    assert [name for name, _ in scores] == ["real texts alone", "with new texts"]
    assert all(float(score) > 0.5 for _, score in scores)
    texts = re.findall(r"^  (?:source_id|row|neighbor_id): (.+)$", out, re.MULTILINE)
    assert len(set(texts)) == 3


def test_a_rare_label_is_raised_with_those_that_it_comes_with(said):
    out, _ = said["several_labels.py"]
    before, after = (dict(re.findall(r"'(\w+)': (\d+)", line)) for line in out.split("\n")[:2])
    assert before["hockey"] == "8" and int(after["hockey"]) > 8
    # Each post about hockey is about sport, and on recreation.
    more = {label: int(after[label]) - int(before[label]) for label in after}
    assert more["sport"] >= 1 and more["rec"] >= 1 and more["space"] == more["autos"] == 0
    scores = re.findall(r"^(.+): macro-F1 ([01]\.\d+)$", out, re.MULTILINE)
    assert [name for name, _ in scores] == ["real texts alone", "with new texts"]
    assert all(float(score) > 0.3 for _, score in scores)


def test_nothing_is_printed_at_the_exit(said):
    assert said["exit"] == ("", "")
