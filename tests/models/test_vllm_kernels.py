"""vLLM's Triton kernels, which only GPUs run, against torch."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed"),
]

SCRIPT = Path(__file__).parents[1] / "support" / "interpreted_kernels.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Any]:
    report = tmp_path_factory.mktemp("kernels") / "found.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(report)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(report.read_text())


@pytest.mark.parametrize("kernel", ["split", "whole"])
def test_top_p_keeps_the_nucleus(found, kernel):
    assert max(map(max, found["top_p"]["sizes"])) > 128 > min(map(min, found["top_p"]["sizes"]))
    # float32 rounds the sum of a large nucleus to either side of p: a few of its last tokens.
    for sizes, wrong in zip(found["top_p"]["sizes"], found["top_p"][kernel], strict=True):
        assert all(n <= size // 100 for n, size in zip(wrong, sizes, strict=True))


def test_tokens_are_those_of_the_gumbel_trick(found):
    sampling = found["sampling"]
    assert sampling["tokens"] == sampling["wanted"]
    assert len(set(sampling["tokens"])) > 10
    assert min(sampling["tokens"]) >= 300  # none from outside of the nucleus


def test_a_seed_gives_the_same_token_wherever_it_stands_in_the_batch(found):
    assert found["sampling"]["tokens"] == found["sampling"]["backwards"]


def test_seeds_and_positions_give_independent_uniform_numbers(found):
    drawn = np.array(found["sampling"]["uniform"])
    # Kolmogorov and Smirnov's distance at 1%; the draws are the same each time.
    assert abs(drawn - (np.arange(len(drawn)) + 0.5) / len(drawn)).max() < 1.63 / len(drawn) ** 0.5
    assert found["sampling"]["correlations"] < 4 / 1024**0.5


def test_soft_prompts_take_the_places_of_their_tokens(found):
    assert found["overlay"]["equal"]
