"""``smotext interpolate`` with the real models."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_two_texts_come_back_at_the_ends_and_nothing_else_is_printed():
    texts = ["Where is the nearest cash machine?", "The camera is terrible in the dark."]
    command = [sys.executable, "-m", "smotext_ray.cli.main", "interpolate", *texts]
    done = subprocess.run(
        [*command, "--lam", "0", "1"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, last = [
        [part.strip() for part in line.split("│")] for line in done.stdout.splitlines()[-2:]
    ]
    assert (first[0], last[0]) == ("0", "1")
    assert float(first[1]) > 0.6 and float(last[1]) > 0.6
    assert "machine" in first[2].lower()
    assert {"camera", "picture", "dark", "terrible"} & set(last[2].lower().rstrip(".").split())
