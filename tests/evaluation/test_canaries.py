"""Canaries are unique and alike; their secrets and their traces are found."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.evaluation.leakage.canaries import (
    NAMES,
    SENTENCES,
    Canary,
    exposure,
    extracted,
    make_canaries,
)

CANARY = Canary("The claim was registered as number 048-213-907.", "048-213-907")


@given(st.integers(0, 50), st.integers(0, 2**32))
def test_canaries_are_unique_and_hold_their_secrets(n, seed):
    found = make_canaries(n, seed)
    assert len(found) == n
    assert len({c.secret for c in found}) == len({c.text for c in found}) == n
    for canary in found:
        assert canary.secret in canary.text
        assert re.fullmatch(r"\d{3}-\d{3}-\d{3}", canary.secret)
    assert found == make_canaries(n, seed)


def test_other_seeds_make_other_canaries():
    secrets = [{c.secret for c in make_canaries(200, seed)} for seed in (0, 1)]
    assert not secrets[0] & secrets[1]


def test_both_halves_are_drawn_from_all_sentences():
    found = make_canaries(600, 0)
    for half in (found[:300], found[300:]):
        kinds = {re.sub(r"\d", "0", c.text) for c in half}
        assert len(kinds) > 0.85 * len(NAMES) * len(SENTENCES)


def test_secrets_are_random_digits():
    digits = "".join(c.secret for c in make_canaries(2000, 0)).replace("-", "")
    shares = np.bincount([int(d) for d in digits], minlength=10) / len(digits)
    np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_a_number_out_of_range_is_refused():
    for n in (-1, 10**8):
        with pytest.raises(ValueError):
            make_canaries(n, 0)


@pytest.mark.parametrize(
    "text",
    [
        CANARY.text,
        "number 048213907",
        "(048) 213 907",
        "048 - 213 - 907.",
        "at 12 048-213-907 or 3",
        "048_213_907",
    ],
)
def test_a_secret_is_found_however_it_is_written(text):
    assert extracted([CANARY], ["nothing", text]).secrets == (CANARY.secret,)


@pytest.mark.parametrize(
    "text",
    ["", "no digits", "048-213-90", "048-213-908", "048 213 and 907", "48-213-907", "709-312-840"],
)
def test_another_number_is_not_the_secret(text):
    assert extracted([CANARY], [text]).secrets == ()


def test_secrets_are_counted_once_and_texts_each():
    other, lost = make_canaries(2, 5)
    found = extracted([CANARY, other, lost], [CANARY.text, f"{CANARY.secret} {other.secret}", "x"])
    assert found.as_json() == {
        "planted": 3,
        "secrets": [CANARY.secret, other.secret],
        "texts": 2,
        "came_back": 2,
    }
    assert extracted([CANARY], []).as_json()["came_back"] == 0


@given(st.integers(1, 30), st.integers(0, 99))
def test_all_planted_ones_come_back_from_a_corpus_that_repeats_them(n, seed):
    both = make_canaries(2 * n, seed)
    found = extracted(both[:n], [c.text for c in both[:n]])
    assert found.secrets == tuple(c.secret for c in both[:n])
    assert extracted(both[n:], [c.text for c in both[:n]]).secrets == ()


def test_exposure_is_by_rank():
    references = np.array([1.0, 2.0, 3.0])
    found = exposure(np.array([4.0, 2.5, 0.5]), references)
    assert found.exposure.mean == pytest.approx((2 + 1 + 0) / 3)
    assert (found.exposure.min, found.exposure.max) == (0.0, 2.0)
    assert found.first == 1
    assert found.chance == pytest.approx(2 - (0 + 1 + math.log2(3) + 2) / 4)
    json.dumps(found.as_json(), allow_nan=False)


def test_of_equal_references_half_are_ahead():
    found = exposure(np.array([1.0]), np.array([1.0, 1.0]))
    assert found.exposure.mean == pytest.approx(math.log2(3) - 1)
    assert found.first == 0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.lists(st.integers(0, 9), min_size=1))
def test_exposure_is_in_its_range_and_sees_ranks_only(planted, references):
    planted, references = np.array(planted, float), np.array(references, float)
    found = exposure(planted, references)
    assert found.exposure.min >= -1e-9
    assert found.exposure.max <= math.log2(len(references) + 1)
    assert exposure(np.exp(planted), np.exp(references)[::-1]) == found


def test_canaries_that_left_no_trace_have_the_exposure_of_chance():
    rng = np.random.default_rng(0)
    found = [exposure(rng.normal(size=20), rng.normal(size=50)) for _ in range(200)]
    assert np.mean([f.exposure.mean for f in found]) == pytest.approx(found[0].chance, abs=0.05)
    assert exposure(rng.normal(3.0, size=20), rng.normal(size=50)).exposure.mean > 3


def test_impossible_scores_are_refused():
    one = np.ones(1)
    for planted, references in [(one[:0], one), (one, one[:0]), (one * np.nan, one)]:
        with pytest.raises(ValueError):
            exposure(planted, references)
