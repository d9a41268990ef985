"""The examples run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = pytest.mark.slow


def test_a_pipeline_with_the_sampler_is_cross_validated():
    done = subprocess.run(
        [sys.executable, EXAMPLES / "cross_validate.py"],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    scores = re.findall(r"^(.+): macro-F1 (0\.\d+), by fold", done.stdout, re.MULTILINE)
    assert [name for name, _ in scores] == ["real texts alone", "with SMOTExT"]
    # Texts of the rare class that are about nothing would spoil it; chance is a third.
    assert all(float(score) > 0.5 for _, score in scores)
