"""The sensitivity holds for any neighboring corpora, to the last digit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smotext_ray.privacy.sums import SENSITIVITY, UNITS, ClassSums, record_vector

K, CLASSES = 4, 3
FINITE = st.floats(-1e6, 1e6, allow_subnormal=True)
RECORDS = st.tuples(arrays(np.float64, K, elements=FINITE), st.integers(-1, CLASSES - 1))
NORMS = st.floats(1e-3, 1e3)


def summed(records, clip_norm):
    vectors = [record_vector(row, clip_norm) for row, _ in records]
    codes = np.array([code for _, code in records], np.int64)
    return ClassSums.of(np.array(vectors, np.int64).reshape(-1, K), codes, CLASSES).as_matrix()


def squared_distance(left, right):
    """In Python's integers: no rounding, no overflow."""
    return sum((int(a) - int(b)) ** 2 for a, b in zip(left.ravel(), right.ravel(), strict=True))


@given(arrays(np.float64, K, elements=FINITE), NORMS)
def test_no_record_is_longer_than_the_norm_and_all_keep_their_direction(row, clip_norm):
    vector = record_vector(row, clip_norm)
    assert sum(int(v) ** 2 for v in vector) <= UNITS**2
    expected = row * min(1, clip_norm / max(np.linalg.norm(row), 1e-300)) / clip_norm * UNITS
    assert np.abs(vector - expected).max() <= 1.5  # rounded toward zero


@given(st.lists(RECORDS, max_size=8), RECORDS, NORMS)
def test_a_record_more_moves_the_sums_by_the_sensitivity_at_most(records, another, clip_norm):
    moved = squared_distance(summed(records, clip_norm), summed([*records, another], clip_norm))
    assert moved <= 2 * UNITS**2
    assert SENSITIVITY["add_or_remove"] == math.sqrt(2)


@given(st.lists(RECORDS, min_size=1, max_size=8), RECORDS, NORMS)
def test_another_record_in_place_of_one_moves_them_by_twice_the_norm(records, another, clip_norm):
    moved = squared_distance(summed(records, clip_norm), summed([another, *records[1:]], clip_norm))
    assert moved <= 4 * UNITS**2
    assert SENSITIVITY["replace"] == 2


def test_the_sensitivities_are_reached():
    far, near = np.array([9.0, 0, 0, 0]), np.array([-9.0, 0, 0, 0])
    one = squared_distance(summed([], 1.0), summed([(far, 0)], 1.0))
    other_text = squared_distance(summed([(far, 0)], 1.0), summed([(near, 0)], 1.0))
    other_class = squared_distance(summed([(far, 0)], 1.0), summed([(far, 1)], 1.0))
    assert one == pytest.approx(2 * UNITS**2, rel=1e-5)
    assert other_text == pytest.approx(4 * UNITS**2, rel=1e-5)
    assert other_class == pytest.approx(4 * UNITS**2, rel=1e-5)


@given(st.lists(RECORDS, max_size=10), st.integers(0, 10))
def test_sums_of_two_blocks_are_those_of_one(records, cut):
    both = summed(records[:cut], 1.0) + summed(records[cut:], 1.0)
    assert (both == summed(records, 1.0)).all()


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_what_has_no_length_is_refused(odd):
    with pytest.raises(ValueError, match="NaN or infinity"):
        record_vector(np.array([0.0, odd]), 1.0)
