"""Scores against closed forms, intervals against scipy's, classifiers that must learn."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import rows_of, topics
from sklearn.linear_model import LogisticRegression

from smotext_ray.errors import UserError
from smotext_ray.evaluation.rows import Rows, encoded
from smotext_ray.evaluation.statistics import Interval, interval
from smotext_ray.evaluation.utility.classifiers import score
from smotext_ray.evaluation.utility.fine_tuning import FineTuned
from smotext_ray.evaluation.utility.scores import Scores, differences, measure, ratios, summarize
from smotext_ray.evaluation.utility.training_sets import of_real
from smotext_ray.evaluation.utility.tuned import Linear, fit_embeddings, fit_words

LABELS = st.sampled_from("abc")


def scores(macro_f1, seed=0, accuracy=0.5, recall=None):
    return Scores(seed, accuracy, macro_f1, 0.5, recall or {"a": 0.5})


def test_scores_in_closed_form():
    # a: 3 rows, 2 found, 1 false; b: 2 rows, 1 found, 1 false; c: 1 row, not found.
    found = measure(["a", "a", "a", "b", "b", "c"], ["a", "a", "b", "b", "z", "a"], seed=7)
    assert found.seed == 7
    assert found.recall == {"a": pytest.approx(2 / 3), "b": 0.5, "c": 0.0}
    assert found.accuracy == pytest.approx(3 / 6)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found.macro_f1 == pytest.approx((4 / 6 + 2 / 4 + 0) / 3)


@settings(max_examples=30)
@given(pairs=st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=30), seed=st.integers(0, 99))
def test_scores_do_not_hang_on_the_order_of_rows(pairs, seed):
    order = np.random.default_rng(seed).permutation(len(pairs))
    labels, predicted = zip(*pairs, strict=True)
    shuffled = measure([labels[i] for i in order], [predicted[i] for i in order], 0)
    assert shuffled == measure(labels, predicted, 0)
    assert 0 <= shuffled.macro_f1 <= 1
    assert sorted(shuffled.recall) == sorted(set(labels))


@settings(max_examples=30)
@given(labels=st.lists(LABELS, min_size=1, max_size=30))
def test_scores_of_the_truth_are_one(labels):
    found = measure(labels, labels, 0)
    assert found.accuracy == found.macro_f1 == found.balanced_accuracy == 1.0


@pytest.mark.parametrize("classifier", ["embedding", "tfidf"])
def test_classifiers_learn_and_repeat(classifier):
    train, test = topics(30), topics(30, seed=1)
    found = score(of_real(train), test, classifier, seed=0)
    assert found.accuracy > 0.95
    assert found == score(of_real(train), test, classifier, seed=0)
    order = np.random.default_rng(0).permutation(30)
    assert score(of_real(train.take(order)), test.take(order), classifier, seed=0) == found


@pytest.mark.parametrize("classifier", ["embedding", "tfidf"])
def test_classes_that_the_training_rows_lack_count_as_missed(classifier):
    train, test = topics(30), topics(30, seed=1)
    without = train.take([i for i, label in enumerate(train.labels) if label != "ship"])
    found = score(of_real(without), test, classifier, seed=0)
    assert found.recall["ship"] == 0.0
    assert found.recall["corn"] > 0.9
    assert found.balanced_accuracy == pytest.approx(sum(found.recall.values()) / 3)


def test_one_class_is_predicted_throughout():
    test = topics(9)
    only = test.take([i for i, label in enumerate(test.labels) if label == "bank"])
    found = score(of_real(only), test, "embedding", seed=0)
    assert found.recall == {"bank": 1.0, "corn": 0.0, "ship": 0.0}
    assert found.accuracy == pytest.approx(1 / 3)


def test_length_of_an_embedding_tells_the_classifier_nothing():
    train, test = topics(12), topics(12, seed=1)
    factors = np.linspace(0.01, 100, 12, dtype=np.float32)[:, None]
    longer = Rows(train.texts, train.embeddings * factors, train.labels)
    assert score(of_real(longer), test, "embedding", 0) == score(
        of_real(train), test, "embedding", 0
    )


def test_points_without_a_text_keep_their_length():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    short = x * np.float32([[1]] * 30 + [[0.05]] * 10)
    labels = ["a", "b"] * 20
    test = Rows(["t"] * 200, rng.normal(size=(200, 2)).astype(np.float32), ["a"] * 200)

    def guesses(train, has_text):
        rows = Rows(["t"] * 30 + [""] * 10, train, labels, has_text=has_text)
        return fit_embeddings(of_real(rows), test, [Linear(0.4, balanced=False)])[0]

    model = LogisticRegression(C=10).fit(short, labels)
    far = test.embeddings / np.linalg.norm(test.embeddings, axis=1, keepdims=True)
    assert guesses(short, has_text=False) == list(model.predict(far))
    assert guesses(short, has_text=False) != guesses(x, has_text=False)
    assert guesses(short, has_text=True) == guesses(x, has_text=True)


@pytest.mark.parametrize("fit", [fit_embeddings, fit_words])
def test_weights_decide_between_rows_that_disagree(fit):
    train = Rows(["oil up"] * 5, np.ones((5, 2), np.float32), ["a", "a", "a", "b", "b"])
    setting = [Linear(1.0, balanced=False)]
    assert fit(of_real(train), train.take([0]), setting) == [["a"]]
    heavy = of_real(train, np.array([1, 1, 1, 9, 9.0]))
    assert fit(heavy, train.take([0]), setting) == [["b"]]


@pytest.mark.parametrize(
    ("classifier", "flag"),
    [("embedding", "has_embedding"), ("tfidf", "has_text"), (FineTuned("none"), "has_text")],
)
def test_rows_that_lack_what_is_read_are_refused(classifier, flag):
    lacking = rows_of(["x y", "y z"], ["a", "b"], **{flag: False})
    whole = rows_of(["x y", "y z"], ["a", "b"])
    with pytest.raises(ValueError, match="classifier"):
        score(of_real(lacking), whole, classifier, 0)


def test_refusals():
    rows = topics(6)
    with pytest.raises(UserError, match="training set has no rows"):
        score(of_real(rows.take([])), rows, "tfidf", 0)
    with pytest.raises(UserError, match="test set has no rows"):
        score(of_real(rows), rows.take([]), "tfidf", 0)
    with pytest.raises(UserError, match="'svm'; choose from embedding, tfidf"):
        score(of_real(rows), rows, "svm", 0)
    with pytest.raises(ValueError, match="must be equal in number"):
        Rows(["a"], np.zeros((2, 3), np.float32), ["x"])


def test_words_come_from_the_training_rows_alone():
    train = rows_of(["oil up", "ship in"], ["a", "b"])
    unseen = rows_of(["quite unknown", "ship in"], ["a", "b"])
    assert score(of_real(train), unseen, "tfidf", 0).recall["b"] == 1.0


def test_taken_and_joined_rows():
    rows = topics(6)
    twice = rows.take([4, 4, 0])
    assert twice.texts == [rows.texts[4], rows.texts[4], rows.texts[0]]
    assert twice.labels == ["ship", "ship", "corn"]
    np.testing.assert_array_equal(twice.embeddings, rows.embeddings[[4, 4, 0]])
    points = Rows([""], np.zeros((1, 4), np.float32), ["corn"], has_text=False)
    both = rows.joined(points)
    assert len(both) == 7 and both.embeddings.dtype == np.float32
    assert not both.has_text and both.has_embedding


def test_encoding_fills_in_only_what_is_missing():
    rows = Rows(
        ["b", "a", "b", "c"],
        np.float32([[1, 2], [np.nan, 0], [np.nan] * 2, [np.nan] * 2]),
        ["x"] * 4,
        has_embedding=False,
    )
    asked = []

    def encode(texts):
        asked.extend(texts)
        return np.float32([[ord(text), 1] for text in texts])

    found = encoded(rows, encode)
    assert asked == ["a", "b", "c"]
    assert found.embeddings.tolist() == [[1, 2], [97, 1], [98, 1], [99, 1]]
    assert found.has_embedding and np.isnan(rows.embeddings).any()
    assert encoded(found, lambda _: 1 / 0).has_embedding  # nothing is missing, no call


@settings(max_examples=50)
@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_intervals_are_scipys(values):
    found = interval(values)
    sem = scipy.stats.sem(values)
    if sem == 0:
        assert (found.low, found.high) == (pytest.approx(found.mean),) * 2
        return
    low, high = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), sem)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.n == len(values)


@settings(max_examples=50)
@given(
    pairs=st.lists(st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)), min_size=3, max_size=9),
)
def test_paired_intervals_are_scipys(pairs):
    a, b = np.array(pairs).T
    if np.ptp(a - b) < 1e-9:
        return
    ours = [scores(x, seed) for seed, x in enumerate(a)]
    others = [scores(x, seed) for seed, x in enumerate(b)]
    found = differences(ours, others).macro_f1
    theirs = scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    ratio = ratios(ours, others).macro_f1
    theirs = scipy.stats.ttest_1samp(a / b, 0).confidence_interval(0.95)
    assert (ratio.low, ratio.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))


def test_a_pair_is_surer_than_its_halves():
    ours = [scores(0.5 + 0.1 * seed + 0.02 + 0.001 * (seed % 2), seed) for seed in range(5)]
    others = [scores(0.5 + 0.1 * seed, seed) for seed in range(5)]
    assert summarize(ours).macro_f1.low < summarize(others).macro_f1.high
    assert differences(ours, others).macro_f1.low > 0.01


def test_summaries_hold_every_score():
    runs = [Scores(s, 0.8 + s / 10, 0.5, 0.6, {"a": 1.0, "b": s / 2}) for s in range(2)]
    found = summarize(runs)
    assert found.accuracy.mean == pytest.approx(0.85)
    assert (found.macro_f1.mean, found.balanced_accuracy.mean) == (0.5, 0.6)
    assert found.macro_f1 == Interval(0.5, 0.5, 0.5, 2)
    assert {label: x.mean for label, x in found.recall.items()} == {"a": 1.0, "b": 0.25}
    half = scipy.stats.t.ppf(0.975, 1) * 0.05
    assert found.accuracy.high == pytest.approx(0.85 + half)


def test_json_has_null_for_what_is_not_defined():
    one = summarize([scores(0.7)])
    assert math.isnan(one.macro_f1.low)
    written = json.loads(json.dumps(one.as_json(), allow_nan=False))
    assert written["macro_f1"] == {"mean": 0.7, "low": None, "high": None, "n": 1}
    assert written["recall"]["a"]["mean"] == 0.5
    zero = [scores(0.0, seed) for seed in range(3)]
    assert ratios(zero, zero).macro_f1.as_json()["mean"] is None
    assert json.loads(json.dumps(scores(0.7).as_json()))["macro_f1"] == 0.7


def test_only_like_is_compared_with_like():
    with pytest.raises(ValueError, match="seeds are the same"):
        differences([scores(0.5, 0)], [scores(0.5, 1)])
    with pytest.raises(ValueError):
        differences([scores(0.5, 0)], [])
    with pytest.raises(ValueError, match="same classes"):
        ratios([scores(0.5)], [scores(0.5, recall={"b": 1.0})])
    with pytest.raises(ValueError, match="at least one value"):
        interval([])
