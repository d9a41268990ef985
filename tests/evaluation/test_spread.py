"""Mean and quantiles of finite numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.evaluation.statistics import spread

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1)


def test_a_ladder_has_its_rungs_as_quantiles():
    found = spread(range(101))
    assert found.as_json() == {
        "count": 101,
        "mean": 50.0,
        "min": 0.0,
        "q05": 5.0,
        "q25": 25.0,
        "median": 50.0,
        "q75": 75.0,
        "q95": 95.0,
        "max": 100.0,
    }


@given(NUMBERS, st.randoms())
def test_the_order_of_the_numbers_has_no_influence(numbers, random):
    shuffled = random.sample(numbers, len(numbers))
    found, again = spread(numbers), spread(np.array(shuffled))
    assert again.mean == pytest.approx(found.mean, abs=1e-6)
    assert {**again.as_json(), "mean": 0} == {**found.as_json(), "mean": 0}


@given(NUMBERS)
def test_quantiles_rise(numbers):
    found = spread(numbers)
    rising = [found.min, found.q05, found.q25, found.median, found.q75, found.q95, found.max]
    assert rising == sorted(rising)
    json.dumps(found.as_json(), allow_nan=False)


@pytest.mark.parametrize("numbers", [[], [1.0, float("nan")], [float("inf")]])
def test_what_has_no_spread_is_refused(numbers):
    with pytest.raises(ValueError, match="finite"):
        spread(numbers)
