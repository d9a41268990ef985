"""Classifiers whose settings are chosen on the training rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility import tuned, tuning
from smotext_ray.evaluation.utility.training_sets import (
    TrainingSet,
    of_real,
    splits,
    stratified_folds,
)
from smotext_ray.evaluation.utility.tuning import choose


def rows(labels, texts=None, seed=0, dim=4):
    embeddings = np.random.default_rng(seed).normal(size=(len(labels), dim)).astype(np.float32)
    return Rows(texts or [f"text {i}" for i in range(len(labels))], embeddings, list(labels))


def clusters(per_class, spread=0.3, dim=6, seed=0):
    """Rows of three classes around a direction each; texts name the class now and then."""
    rng = np.random.default_rng(seed)
    labels, embeddings, texts = [], [], []
    for k, name in enumerate("abc"):
        for _ in range(per_class[k]):
            labels.append(name)
            embeddings.append(np.eye(dim)[k] + spread * rng.normal(size=dim))
            words = [f"noise{rng.integers(20)}" for _ in range(5)]
            texts.append(" ".join([*words, f"word{name}"] if rng.random() < 0.7 else words))
    return Rows(texts, np.asarray(embeddings, np.float32), labels)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_folds_spread_every_class_and_leave_lone_rows_in_training(labels, folds):
    found = stratified_folds(labels, folds, seed=3)
    for name in set(labels):
        of_class = found[[label == name for label in labels]]
        if len(of_class) == 1:
            assert of_class[0] == -1
        else:
            counts = np.bincount(of_class, minlength=folds)
            assert counts.max() - counts.min() <= 1


def test_nothing_made_of_a_validation_row_is_trained_on():
    real = rows("aaaabbbb")
    origins = np.array([[0, 1], [2, 3], [4, 5], [6, 7], [0, 3]])
    training = of_real(real).joined(rows("aabba", seed=1), origins)
    seen = []
    for train, validate in splits(training, 4, seed=0):
        assert (validate < 8).all()
        held_out = set(validate.tolist())
        for row in train:
            assert not held_out & set(training.origins[row].tolist())
        seen += validate.tolist()
    assert sorted(seen) == list(range(8))


def test_rows_without_origins_are_always_trained_on():
    training = of_real(rows("aabb")).joined(rows("ab", seed=1), None)
    for train, _ in splits(training, 2, seed=0):
        assert {4, 5} <= set(train.tolist())


def test_without_real_rows_the_synthetic_ones_judge_each_other():
    rng = np.random.default_rng(0)
    origins = np.concatenate([rng.integers(0, 10, (20, 2)), rng.integers(10, 20, (20, 2))])
    training = TrainingSet(rows("a" * 20 + "b" * 20), origins, real=0)
    found = splits(training, 4, seed=0)
    assert found
    for train, validate in found:
        assert len(validate)
        for row in train:
            assert not set(training.origins[row]) & set(training.origins[validate, 0])


def test_a_taken_set_knows_which_of_its_rows_are_real():
    training = of_real(rows("aabb")).joined(rows("ab", seed=1), np.array([[0, 1], [2, 3]]))
    taken = training.take(np.array([1, 3, 4]))
    assert taken.real == 2
    assert taken.origins[:, 0].tolist() == [1, 3, 0]


def test_the_best_setting_is_chosen_and_of_equal_ones_the_first():
    training = of_real(rows("aabb" * 5))

    def fit_each(train, unseen, wanted):
        return [unseen.labels if s == "right" else ["a"] * len(unseen) for s in wanted]

    assert choose(training, ["wrong", "right", "wrong"], fit_each, seed=0) == "right"
    assert choose(training, ["one", "two"], fit_each, seed=0) == "one"


def test_within_a_standard_error_of_the_best_the_first_setting_is_chosen():
    few, many = of_real(rows("aaab" * 10)), of_real(rows("aabb" * 10))
    wrong = {"worse": range(20), "nearly": (0, 1, 2, 4), "best": range(3)}  # numbers of rows

    def fit_each(train, unseen, wanted):
        numbers = [int(text.removeprefix("text ")) for text in unseen.texts]
        return [
            ["?" if number in wrong[setting] else label
             for number, label in zip(numbers, unseen.labels, strict=True)]
            for setting in wanted
        ]  # fmt: skip

    assert choose(few, list(wrong), fit_each, seed=0) == "best"
    assert choose(few, list(wrong), fit_each, seed=0, within=1.0) == "nearly"
    assert choose(few, list(wrong), fit_each, seed=0, within=50.0) == "worse"
    assert choose(many, list(wrong), fit_each, seed=0, within=50.0) == "best"


def test_settings_are_chosen_without_a_look_at_the_test_rows():
    training, test = of_real(clusters([40, 8, 8])), clusters([30, 30, 30], seed=9)
    seen = []

    def fit_each(train, unseen, wanted):
        seen.append(unseen.texts)
        return tuned.fit_embeddings(train, unseen, wanted)

    classifier = tuned.Tuned(tuned.EMBEDDINGS, fit_each)
    labels = classifier(training, test, 0)
    assert seen[-1] == test.texts and len(labels) == len(test)
    assert not any(set(texts) & set(test.texts) - set(training.rows.texts) for texts in seen[:-1])


@pytest.mark.parametrize("group", ["TUNED", "CLASS_WEIGHTED", "CENTROIDS", "PRIOR_CORRECTED"])
@pytest.mark.parametrize("name", ["embedding", "tfidf"])
def test_every_classifier_beats_the_largest_class_on_separable_rows(group, name):
    classifier = getattr(tuned, group)[name]
    test = clusters([40, 40, 40], seed=5)
    labels = classifier(of_real(clusters([60, 10, 10])), test, 0)
    share = np.mean([a == b for a, b in zip(labels, test.labels, strict=True)])
    assert share > 0.55  # 0.33 for the largest class


def test_copies_of_every_row_change_no_prediction_at_one_setting():
    real, test = clusters([30, 6, 6]), clusters([30, 30, 30], seed=5)
    twice = of_real(real).joined(real, np.arange(len(real))[:, None])
    setting = tuned.Linear(1.0, balanced=False)
    for fit in (tuned.fit_embeddings, tuned.fit_words):
        once, doubled = fit(of_real(real), test, [setting]), fit(twice, test, [setting])
        agree = np.mean([a == b for a, b in zip(once[0], doubled[0], strict=True)])
        assert agree > 0.97  # TF-IDF's document frequencies are smoothed by a count of one


def test_the_corrected_prior_finds_more_of_the_rare_classes():
    test = clusters([40, 40, 40], spread=0.8, seed=5)
    training = of_real(clusters([200, 8, 8], spread=0.8))
    setting = [tuned.Linear(1.0, balanced=False)]
    plain = tuned.fit_embeddings(training, test, setting)[0]
    corrected = tuned.fit_prior_corrected(training, test, setting)[0]
    assert corrected.count("a") < plain.count("a")


def test_a_single_class_is_predicted_for_all():
    training = of_real(rows("aaaa"))
    assert tuned.TUNED["embedding"](training, rows("ab"), 0) == ["a", "a"]


def test_balanced_classes_weigh_the_same_whatever_their_rows_weigh():
    training = of_real(rows("aaab"), np.array([1.0, 2, 3, 0.5]))
    weight = tuned._weights(training, balanced=True)
    assert weight[:3].sum() == pytest.approx(weight[3])
    np.testing.assert_allclose(weight[:3] / weight[0], [1, 2, 3])
    assert weight.mean() == pytest.approx(1)


def test_a_fold_without_a_second_class_has_its_prior_corrected_too():
    training = of_real(rows("aaaa"))
    setting = [tuned.Linear(1.0, balanced=False)]
    assert tuned.fit_prior_corrected(training, rows("ab"), setting) == [["a", "a"]]


def test_a_part_of_many_rows_chooses_and_small_classes_keep_theirs(monkeypatch):
    monkeypatch.setattr(tuning, "MOST_ROWS", 100)
    training = of_real(rows("a" * 400 + "b" * 80 + "c" * 8))
    sizes = []

    def fit_each(train, unseen, wanted):
        sizes.append(Counter(train.rows.labels) + Counter(unseen.labels))
        return [unseen.labels for _ in wanted]

    choose(training, ["one", "two"], fit_each, seed=0)
    assert sizes == [{"a": 82, "b": 20, "c": 8}] * tuning.FOLDS


def test_the_real_rows_of_a_class_are_not_lost_among_its_synthetic_ones(monkeypatch):
    monkeypatch.setattr(tuning, "MOST_ROWS", 100)
    real, new = rows("a" * 200 + "b" * 8), rows("b" * 192)
    training = of_real(real).joined(new, np.full((192, 1), 200))
    kept = tuning._some_rows(training, seed=0)
    assert (np.diff(kept) > 0).all() and set(range(200, 208)) <= set(kept)
    assert (kept < 200).sum() == 50 and (kept >= 208).sum() == 48


def test_a_settled_classifier_chooses_no_more():
    training = of_real(clusters([40, 8, 8]))
    classifier = tuned.TUNED["embedding"].settled(training, 0)
    assert len(classifier.settings) == 1
    unseen = clusters([9, 9, 9], seed=3)
    assert classifier(training, unseen, 0) == tuned.TUNED["embedding"](training, unseen, 0)
