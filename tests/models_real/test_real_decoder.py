"""Real vLLM on CPU reads the soft prompts as they are, with LoRA layers and in int8 too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "support" / "real_decoder.py"


@pytest.fixture(scope="module")
def findings(tmp_path_factory) -> Path:
    """What real_decoder.py found, a file for each of its ways."""
    directory = tmp_path_factory.mktemp("decoder")
    command = [sys.executable, str(SCRIPT), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return directory


def found_by(way: str, findings: Path) -> dict[str, Any]:
    return json.loads((findings / f"{way}.json").read_text())


@pytest.fixture(scope="module")
def real(findings) -> dict[str, Any]:
    return found_by("merged", findings)


def test_texts_come_back_for_each_point_but_the_spoilt_one(real):
    texts, errors = real["texts"], real["errors"]
    assert [len(t) for t in texts] == [2, 0, 2, 2]
    assert all(text.strip() for candidates in texts for text in candidates)
    assert [bool(error) for error in errors] == [False, True, False, False]
    assert "NaN" in errors[1]


def test_candidates_follow_their_seeds(real):
    assert real["again"] == real["texts"]
    assert real["other_seeds"] != real["texts"]
    assert any(len(set(candidates)) == 2 for candidates in real["texts"])


def test_lengths_and_ends_are_told(real):
    for reasons, lengths in zip(real["finish_reasons"], real["num_tokens"], strict=True):
        assert set(reasons) <= {"stop", "length"}
        assert all(1 <= n <= 24 for n in lengths)
        assert all(n == 24 for r, n in zip(reasons, lengths, strict=True) if r == "length")


def test_a_prompt_that_vllm_refuses_leaves_its_neighbors_their_own_texts(real):
    assert real["around_refused"][0] == real["alone"][0]
    assert real["around_refused"][1] == []
    assert real["around_refused"][2] == real["alone"][1]
    assert "ValidationError" in real["refusal"] or "ValueError" in real["refusal"]


def test_greedy_vllm_says_what_greedy_transformers_says(real):
    for ours, theirs in zip(real["greedy"], real["transformers"], strict=True):
        assert theirs and ours.startswith(theirs)
    assert len(set(real["greedy"])) == len(real["greedy"])  # the points are told apart


def test_seeded_prompts_of_more_tokens_than_a_step_takes_are_answered(real):
    answers = real["long_prompts"]
    assert len(answers) > 100
    assert all(len(answer["texts"]) == 2 and not answer["error"] for answer in answers)


def test_vllm_with_the_lora_layers_apart_from_the_llm_says_so_too(real, findings):
    apart = found_by("apart", findings)
    for ours, theirs in zip(apart["greedy"], real["transformers"], strict=True):
        assert theirs and ours.startswith(theirs)


def test_texts_in_int8_are_near_their_points(findings):
    found = found_by("int8", findings)
    # Rounding changes words; the mean over three texts in bfloat16 is about 0.7.
    assert min(found["cosines"]) > 0.3
    assert np.mean(found["cosines"]) > 0.5


def test_no_text_ends_before_the_length_it_is_given_unless_the_llm_is_sure(findings):
    found = found_by("int8", findings)
    sure, free = found["num_tokens_where_sure"], found["num_tokens"]
    assert sure == free  # nothing is asked of the first; the others are sure to be whole
    assert found["num_tokens_at_least"][0] == found["num_tokens"][0] < 20
    assert found["num_tokens_at_least"][1] >= 20
    assert found["num_tokens_at_least"][2] == 24  # no more than max_tokens


def test_no_tokens_follow_each_other_twice(findings):
    found = found_by("int8", findings)["tokens"]
    for n in (1, 2):
        for tokens in found[str(n)]:
            ngrams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
            assert len(tokens) == 24 and len(set(ngrams)) == len(ngrams)
    assert any(len(set(tokens)) < len(tokens) for tokens in found["0"])
