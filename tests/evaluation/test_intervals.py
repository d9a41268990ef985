"""Do the intervals cover, and are p values corrected as other libraries correct them?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.evaluation.statistics import critical_difference, holm, interval, p_value
from smotext_ray.evaluation.utility import bootstrap
from smotext_ray.evaluation.utility.bootstrap import paired_bootstrap, standard_error


def coverage(left_out, draws, simulations=1500):
    """Of 95% intervals of a mean over 100 normal values, from draws that leave out a tenth."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(simulations):
        values = rng.normal(size=100)
        means = [rng.permutation(values)[:90].mean() for _ in range(draws)]
        found = interval(means, left_out)
        hits += found.low <= 0 <= found.high
    return hits / simulations


@pytest.mark.parametrize("draws", [3, 5, 20])
def test_intervals_over_overlapping_draws_cover_what_they_promise(draws):
    assert 0.925 < coverage(0.1, draws) < 0.975


def test_overlapping_draws_taken_for_independent_ones_would_not_cover():
    assert coverage(0.0, 5) < 0.5


def test_more_draws_do_not_make_the_interval_of_one_corpus_vanish():
    rng = np.random.default_rng(1)
    few, many = (interval(rng.normal(size=n), left_out=0.1) for n in (30, 3000))
    assert many.high - many.low > 0.8 * (few.high - few.low)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_agrees_with_its_definition(p_values):
    adjusted = holm(p_values)
    alpha = 0.05
    rejected = set()
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for step, i in enumerate(order):
        if p_values[i] * (len(p_values) - step) > alpha:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected
    assert all(a >= min(p, 1) - 1e-9 for a, p in zip(adjusted, p_values, strict=True))


def test_the_critical_difference_is_that_of_demsar_s_tables():
    # q_0.05 of 2, 5 and 10 classifiers: 1.960, 2.728, 3.164.
    for arms, q in ((2, 1.960), (5, 2.728), (10, 3.164)):
        expected = q * np.sqrt(arms * (arms + 1) / (6 * 30))
        assert critical_difference(arms, 30) == pytest.approx(expected, abs=2e-3)


def macro_f1(labels, guess):
    from sklearn.metrics import f1_score

    classes = sorted(set(labels))
    return f1_score(labels, guess, labels=classes, average="macro", zero_division=0)


def guesses(labels, right, rng):
    names = sorted(set(labels))
    return [x if rng.random() < right else names[rng.integers(len(names))] for x in labels]


def test_the_bootstrapped_difference_is_that_of_scikit_learn_s_macro_f1():
    rng = np.random.default_rng(0)
    labels = [str(k) for k in rng.integers(4, size=200)]
    a, b = ([guesses(labels, right, rng) for _ in range(3)] for right in (0.8, 0.5))
    found = paired_bootstrap(labels, a, b, draws=500)
    pairs = zip(a, b, strict=True)
    expected = np.mean([macro_f1(labels, x) - macro_f1(labels, y) for x, y in pairs])
    assert found.mean == pytest.approx(expected, abs=1e-6)
    assert found.low < found.mean < found.high
    assert found.low > 0


def test_the_interval_of_a_share_is_between_zero_and_one():
    assert interval([0.9, 1.0, 0.95]).high > 1
    assert interval([0.9, 1.0, 0.95]).of_share().high == 1
    assert interval([0.0, 0.1, 0.02]).of_share().low == 0
    assert math.isnan(interval([0.9]).of_share().low)


def test_draws_of_many_rows_are_made_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    labels, guess, other = (list(rng.choice(["a", "b"], 90)) for _ in range(3))
    whole = paired_bootstrap(labels, [guess], [other], draws=50)
    monkeypatch.setattr(bootstrap, "MOST_COUNTS", 700)
    assert paired_bootstrap(labels, [guess], [other], draws=50) == whole


def test_a_class_that_draws_lack_adds_nothing_to_the_standard_error():
    labels = ["a"] * 50 + ["b"] * 2
    assert standard_error(labels, labels) == pytest.approx(0, abs=1e-6)


def test_the_standard_error_is_the_spread_over_fresh_test_rows():
    rng = np.random.default_rng(3)

    def drawn():
        labels = rng.choice(["a", "b", "c"], 300, p=[0.6, 0.3, 0.1])
        return labels, np.where(rng.random(300) < 0.7, labels, "a")

    spread = np.std([macro_f1(*drawn()) for _ in range(300)])
    found = np.mean([standard_error(*drawn()) for _ in range(20)])
    assert 0.8 * spread < found < 1.25 * spread


def test_an_arm_against_itself_has_no_difference():
    labels = ["a", "b"] * 20
    found = paired_bootstrap(labels, [labels], [labels], draws=50)
    assert (found.mean, found.low, found.high) == (0, 0, 0)


def test_bootstrapped_intervals_cover_the_difference_on_fresh_test_rows():
    rng, hits, simulations = np.random.default_rng(2), 0, 200
    for _ in range(simulations):
        labels = [str(k) for k in rng.integers(2, size=150)]
        a, b = guesses(labels, 0.6, rng), guesses(labels, 0.6, rng)
        found = paired_bootstrap(labels, [a], [b], draws=200)
        hits += found.low <= 0 <= found.high  # both arms are equally good
    assert 0.88 < hits / simulations <= 0.99


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9), st.sampled_from([0.0, 0.1]))
def test_a_p_value_is_below_5_percent_just_where_the_interval_leaves_zero_out(values, left_out):
    found = interval(values, left_out)
    p = p_value(values, left_out)
    if np.std(values) > 1e-6 and min(abs(found.low), abs(found.high)) > 1e-9:
        assert (p < 0.05) == (found.low > 0 or found.high < 0)


def test_a_p_value_in_closed_form_and_at_its_ends():
    values = [0.1, 0.25, 0.05, -0.02]
    assert p_value(values) == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue)
    assert p_value(values, 0.1) > p_value(values)
    assert np.isnan(p_value([0.3]))
    assert (p_value([0.0, 0.0]), p_value([0.2, 0.2])) == (1.0, 0.0)
