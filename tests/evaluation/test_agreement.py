"""Labels are judged by classifiers that have seen neither the text nor its parents."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from smotext_ray.evaluation.fidelity import agreement
from smotext_ray.evaluation.fidelity.agreement import label_agreement


def classes_of(counts, d=8, gap=3.0, seed=0):
    """Texts about one mean a class, ``gap`` apart, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    return gap * np.eye(len(counts), d)[labels] + rng.normal(size=(len(labels), d)), labels


def test_texts_of_the_real_distribution_agree_as_much_as_real_ones():
    real, labels = classes_of([150, 150, 150], gap=2.0)
    new, given = classes_of([400, 400, 400], gap=2.0, seed=1)
    found = label_agreement(real, labels, new, given)
    assert 0.7 < found.accuracy < 0.95
    assert found.agreement == pytest.approx(found.ceiling, abs=0.05)
    assert found.label_issues == pytest.approx(found.real_label_issues, abs=0.05)


def test_wrong_labels_are_seen():
    real, labels = classes_of([60, 60], gap=6.0)
    new, given = classes_of([50, 50], gap=6.0, seed=1)
    wrong = given.copy()
    wrong[:10] = 1
    found = label_agreement(real, labels, new, wrong)
    assert found.agreement == pytest.approx(0.9)
    assert found.label_issues == pytest.approx(0.1)
    assert found.real_label_issues == 0.0
    assert found.classes[0].agreement == 1.0
    assert found.classes[1].agreement == pytest.approx(50 / 60)


def test_a_copy_of_a_real_text_is_judged_just_as_the_text():
    # Labels that mean nothing: whoever has seen the parent finds the copy's label easily.
    rng = np.random.default_rng(0)
    real, labels = rng.normal(size=(60, 200)), rng.integers(2, size=60)
    copied = label_agreement(real, labels, real, labels, parents=np.arange(60)[:, None])
    assert copied.agreement == copied.accuracy == pytest.approx(copied.ceiling)
    assert copied.agreement < 0.7
    # Of ten models six have seen the text, and 200 axes let them know all they have seen.
    peeking = label_agreement(real, labels, real, labels)
    assert peeking.agreement == pytest.approx(0.6 + 0.4 * peeking.accuracy)


def test_each_text_is_judged_by_the_models_without_its_parents(monkeypatch):
    real, labels = classes_of([20, 20])
    folds = agreement._folds(labels, seed=3)
    seen = []

    class Recorder(LogisticRegression):
        def fit(self, x, y):
            seen.append({tuple(row) for row in x})
            return super().fit(x, y)

        def predict_proba(self, x):
            for row in x[len(x) - 1 :] if tuple(x[-1]) == tuple(new[0]) else []:
                judged_by.append((len(seen) - 1, tuple(row)))
            return super().predict_proba(x)

    judged_by: list = []
    new = np.full((1, 8), 0.25)
    mother = 0
    father = int(np.flatnonzero(folds != folds[mother])[0])
    monkeypatch.setattr(agreement, "LogisticRegression", Recorder)
    label_agreement(real, labels, new, [0], parents=np.array([[mother, father]]), seed=3)
    assert len(seen) == 10
    assert len(judged_by) == 1
    fitted_on = seen[judged_by[0][0]]
    assert tuple(real[mother]) not in fitted_on
    assert tuple(real[father]) not in fitted_on


def test_texts_whose_parents_no_model_can_leave_out_are_not_judged():
    real, labels = classes_of([60, 60], gap=6.0)
    new, given = classes_of([100, 100], gap=6.0, seed=1)
    parents = np.random.default_rng(0).integers(60, size=(200, 3)) + 60 * given[:, None]
    found = label_agreement(real, labels, new, given, parents)
    assert 80 < found.synthetic < 130  # 52% have two parents in one fold
    assert found.agreement == 1.0
    assert found.synthetic == sum(each.synthetic for each in found.classes.values())


def test_folds_have_equal_shares_of_each_class():
    labels = np.repeat([0, 1, 2], [50, 11, 3])
    folds = agreement._folds(labels, seed=0)
    for label in range(3):
        shares = np.bincount(folds[labels == label], minlength=5)
        assert shares.max() - shares.min() <= 1


def test_the_ceiling_is_in_the_class_mix_of_the_synthetic_texts():
    easy, hard = classes_of([300, 12], gap=1.5)
    found = label_agreement(easy, hard, *classes_of([0, 40], gap=1.5, seed=1))
    assert found.ceiling == found.classes[1].accuracy < found.accuracy
    assert found.classes[0].agreement is None
    assert found.classes[0].synthetic == 0


def test_classes_of_fewer_than_five_texts_are_judged_and_of_fewer_than_three_left_out():
    real, codes = classes_of([40, 4, 3, 2, 1], gap=8.0)
    labels = np.array(["many", "four", "three", "two", "one"])[codes]
    new, made = classes_of([2, 2, 2, 2, 2], gap=8.0, seed=1)
    found = label_agreement(
        real, labels, new, np.array(["many", "four", "three", "two", "one"])[made]
    )
    assert found.left_out == ("one", "two")
    assert list(found.classes) == ["four", "many", "three"]
    assert found.synthetic == 6
    assert found.agreement == found.accuracy == 1.0
    table = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert table["classes"][0] == {
        "label": "four",
        "real": 4,
        "synthetic": 2,
        "accuracy": 1.0,
        "agreement": 1.0,
    }


def test_a_majority_does_not_draw_texts_to_it():
    real, labels = classes_of([400, 8], gap=2.0)
    new, made = classes_of([100, 100], gap=2.0, seed=1)
    found = label_agreement(real, labels, new, made)
    assert found.classes[1].agreement > 0.6


def test_the_same_seed_gives_the_same_figures_and_order_of_synthetic_texts_has_no_influence():
    real, labels = classes_of([30, 30])
    new, made = classes_of([20, 20], seed=1)
    parents = np.random.default_rng(0).integers(60, size=(40, 2))
    found = label_agreement(real, labels, new, made, parents)
    order = np.random.default_rng(1).permutation(40)
    again = label_agreement(real, labels, new[order], made[order], parents[order])
    assert again.agreement == pytest.approx(found.agreement)
    assert again.label_issues == pytest.approx(found.label_issues)
    assert label_agreement(real, labels, new, made, parents) == found


REAL, LABELS = classes_of([4, 4])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"synthetic_labels": [5]}, "label 5"),
        ({"synthetic_labels": [0, 1]}, "one label"),
        ({"real_labels": [0] * 8}, "Two classes"),
        ({"real_labels": [0] * 3 + [1] * 3 + [2] * 2, "synthetic_labels": [2]}, "Two classes"),
        ({"parents": np.array([[8]])}, "rows of the 8"),
        ({"parents": np.array([[-2]])}, "rows of the 8"),
        ({"parents": np.array([0])}, "shape"),
        ({"synthetic": REAL[:1, :3]}, "width"),
    ],
)
def test_impossible_input_is_refused(changed, message):
    given = {
        "real": REAL,
        "real_labels": LABELS,
        "synthetic": REAL[:1],
        "synthetic_labels": [0],
    }
    with pytest.raises(ValueError, match=message):
        label_agreement(**given | changed)
