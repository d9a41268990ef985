"""Targets are imbalanced-learn's, and what it refuses is refused in one sentence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.utils import check_sampling_strategy
from scipy.stats import binom

from smotext_ray.errors import UserError
from smotext_ray.plan.acceptance import lacking
from smotext_ray.plan.strategy import check_class_sizes, targets

COUNTS = {"grain": 41, "ship": 108, "earn": 300}


@pytest.mark.parametrize("word", ["auto", "minority", "not minority", "not majority", "all"])
@settings(deadline=None, max_examples=20)
@given(counts=st.lists(st.integers(1, 30), min_size=2, max_size=5))
def test_words_equal_imbalanced_learn(word, counts):
    labels = ["e", "b", "d", "a", "c"][: len(counts)]
    y = np.repeat(labels, counts)
    expected = check_sampling_strategy(word, y, "over-sampling")
    got = targets(dict(zip(labels, counts, strict=True)), word)
    assert got == {str(label): count for label, count in expected.items() if count}


@pytest.mark.parametrize("ratio", [0.4, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("form", [float, str])
def test_ratios_equal_imbalanced_learn(ratio, form):
    expected = check_sampling_strategy(ratio, ["a"] * 100 + ["b"] * 33, "over-sampling")
    assert targets({"a": 100, "b": 33}, form(ratio)) == dict(expected)


@pytest.mark.parametrize(
    "strategy",
    [{"grain": 160, "ship": 160}, '{"grain": 160, "ship": 160}', {"ship": 160.0, "grain": 160}],
)
def test_final_counts(strategy):
    assert targets(COUNTS, strategy) == {"grain": 119, "ship": 52}


def test_labels_keep_their_type_and_are_matched_by_text():
    assert targets({1: 5, 10: 9, 2: 9}, '{"1": 8}') == {1: 3}
    assert targets({1: 5, 10: 9}, {1: 8}) == {1: 3}
    assert targets({True: 5, False: 9}, "auto") == {True: 4}


@pytest.mark.parametrize(
    ("counts", "strategy"),
    [
        ({"a": 5, "b": 5}, "auto"),
        ({"a": 5, "b": 5}, 1.0),
        ({"a": 100, "b": 50}, "0.5"),
        ({"a": 5, "b": 9}, '{"a": 5}'),
        ({"a": 5, "b": 9}, {}),
    ],
)
def test_nothing_to_do_is_no_error(counts, strategy):
    assert targets(counts, strategy) == {}


def test_a_tie_for_minority_does_not_hang_on_the_order_of_counts():
    assert targets({"b": 2, "a": 2, "c": 9}, "minority") == {"a": 7}


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ("majority", ["'majority'", "not majority"]),
        ("most", ["'most'", "auto"]),
        ("[1, 2]", ["'[1, 2]'"]),
        ("true", ["'true'"]),
        ('{"wheat": 50}', ["'wheat'", "'earn', 'grain', 'ship'"]),
        ('{"grain": 40}', ["40 rows", "grain", "has 41"]),
        ('{"grain": -1}', ["-1 rows"]),
        ('{"grain": 50.5}', ["50.5", "whole number"]),
        ('{"grain": "50"}', ["'50'", "whole number"]),
        ('{"grain": NaN}', ["whole number"]),
        (0.5, ["two classes", "the corpus has 3", "'earn', 'grain', 'ship'"]),
        ("1.5", ["(0, 1]", "1.5"]),
        (0, ["(0, 1]"]),
        ("NaN", ["(0, 1]"]),
    ],
)
def test_refusals_are_one_sentence(strategy, words):
    with pytest.raises(UserError) as error:
        targets(COUNTS, strategy)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_ratio_that_would_remove_rows():
    with pytest.raises(UserError, match="asks for 20 rows of class b, which already has 33"):
        targets({"a": 100, "b": 33}, 0.2)


def test_at_most_ten_classes_are_listed():
    counts = {f"c{number:02}": 3 for number in range(15)}
    with pytest.raises(UserError, match="'c09' and 5 more") as error:
        targets(counts, {"x": 4})
    assert "c10" not in str(error.value)


@pytest.mark.parametrize("counts", [{}, {"a": 3}, {"a": 3, "b": 0}])
def test_fewer_than_two_classes(counts):
    with pytest.raises(UserError, match="at least two classes"):
        targets(counts, "auto")


@pytest.mark.parametrize("rate", [0.5, 0.7, 0.84, 0.9, 0.99])
@pytest.mark.parametrize("missing", [1, 4, 52, 119, 5000])
def test_a_round_is_enough_unless_chance_is_against_it(rate, missing):
    (points,) = lacking({"a": missing}, {}, {}, rate).values()
    assert binom.cdf(missing - 1, points, rate) < 0.05
    assert points < missing / rate + 2.5 * math.sqrt(points * (1 - rate) / rate) + 5


def test_where_all_texts_pass_there_are_as_many_points_as_missing_texts():
    assert lacking({"a": 10**6 + 7, "b": 3, "c": 2}, {"c": 2}, {}) == {"a": 10**6 + 7, "b": 3}
    assert lacking({"a": 9, "b": 9}, {"a": 5, "b": 0}, {"a": 5, "b": 9}) == {"a": 4, "b": 90}


def test_class_sizes():
    distinct, new_points = {"a": 1, "b": 3, "c": 6}, {"a": 4, "b": 5, "c": 6}
    kept, warnings = check_class_sizes(distinct, new_points, 5, "skip")
    assert kept == {"b": 5, "c": 6}
    assert len(warnings) == 2
    assert "'a' is skipped" in warnings[0]
    assert "Using k_neighbors=2 instead of 5 for class 'b' (3 distinct texts)" in warnings[1]


def test_singleton_classes_are_refused_only_where_they_get_points():
    with pytest.raises(
        UserError, match=r"Class 'a' has only one distinct text.*--on-singleton-class skip"
    ):
        check_class_sizes({"a": 1, "b": 9}, {"a": 4}, 5, "error")
    with pytest.raises(UserError, match="Classes 'a', 'b' have only one"):
        check_class_sizes({"a": 1, "b": 1}, {"a": 4, "b": 1}, 5, "error")
    assert check_class_sizes({"a": 1, "b": 9}, {"b": 4}, 5, "error") == ({"b": 4}, [])


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (["no", "yes"], "no"),
        (["1.10", "1.1"], "1.10"),
        ([1, 0], "1"),
        ([1, 0], "1.0"),
        ([True, False], "true"),
        (["true", "false"], "true"),
        ([2**53 + 1, 2**53], str(2**53 + 1)),
    ],
)
def test_a_class_is_named_as_it_is_shown_or_by_its_value(labels, name):
    assert targets(dict.fromkeys(labels, 2), {name: 5}) == {labels[0]: 3}


@pytest.mark.parametrize(
    ("labels", "name", "meant"),
    [(["TRUE", "FALSE"], "true", "TRUE"), (["spam ", "ham"], "spam", "spam "), ([1, 2], "01", "1")],
)
def test_what_names_no_class_comes_with_a_suggestion(labels, name, meant):
    with pytest.raises(UserError, match=f"did you mean '{meant}'"):
        targets(dict.fromkeys(labels, 2), {name: 5})


def test_a_class_that_comes_twice_is_refused_and_not_overwritten():
    with pytest.raises(UserError, match="has the class 'ship' twice; name it once"):
        targets(COUNTS, '{"ship": 160, "ship": 200}')
