"""Weights of synthetic rows, and a teacher that has not seen their parents."""

from __future__ import annotations

import numpy as np
import pytest
from made_rows import rows_of

from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility import weighting
from smotext_ray.evaluation.utility.training_sets import of_real

REAL, NEW = ["a"] * 12 + ["b"] * 4, ["a"] * 3 + ["b"] * 8


@pytest.fixture
def own():
    """Made of rows 0 and 1, 1 and 2, and so on, of their class."""
    real = rows_of([f"real {i}" for i in range(16)], REAL)
    new = rows_of([f"new {i}" for i in range(11)], NEW)
    first = [0, 1, 2] + [12 + i % 3 for i in range(8)]
    return of_real(real).joined(new, np.array([[i, i + 1] for i in first]))


def test_the_synthetic_rows_of_a_class_weigh_as_much_as_its_real_ones(own):
    weight = weighting.weighted_by_class(own).weight
    assert (weight[:16] == 1).all()
    assert (weight[16:19] == 1).all()  # three for twelve: none weighs more than a real one
    assert weight[19:].sum() == pytest.approx(4) and np.ptp(weight[19:]) == 0


def test_balanced_classes_weigh_the_same_and_their_real_rows_half_of_it(own):
    weight = weighting.balanced_by_class(own).weight
    parts = np.split(weight, [12, 16, 19])  # real a, real b, synthetic a, synthetic b
    assert [part.sum() for part in parts] == pytest.approx([0.5] * 4)
    without_new_a = weighting.balanced_by_class(own.take(np.r_[:16, 19:27])).weight
    assert without_new_a[:12].sum() == pytest.approx(1)


def test_a_constant_is_chosen_by_cross_validation(own, monkeypatch):
    monkeypatch.setattr(weighting, "CONSTANTS", (1.0, 0.001))
    assert weighting.weighted_by_constant(own, 0).weight[16:].tolist() == [1.0] * 11
    wrong = rows_of(["x"] * 40, ["b", "a"] * 20)
    wrong = Rows(wrong.texts, wrong.embeddings, ["a", "b"] * 20)  # which lie where b and a are
    made = of_real(own.rows.take(range(16))).joined(wrong, np.array([[0, 1], [12, 13]] * 20))
    assert weighting.weighted_by_constant(made, 0).weight[16:].tolist() == [0.001] * 40


def test_a_teacher_judges_rows_whose_parents_it_has_not_seen(own, monkeypatch):
    judged = []
    real = weighting._probabilities

    def noted(own, seen, rows, classes):
        made = own.origins[own.real :][rows]
        judged.append(not set(seen.tolist()) >= set(made.ravel().tolist()) or not rows.any())
        for parents in made:
            assert set(parents.tolist()) - set(seen.tolist())  # at least one was held out
        return real(own, seen, rows, classes)

    monkeypatch.setattr(weighting, "_probabilities", noted)
    classes, probability = weighting.teach_new(own, 0)
    assert classes.tolist() == ["a", "b"] and len(judged) > 1 and all(judged)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert (probability[:3, 0] > 0.5).all() and (probability[3:, 1] > 0.5).all()


def test_a_text_of_another_class_weighs_less(own):
    labels = list(own.rows.labels)
    labels[16] = "b"  # it lies where a is
    new = Rows(own.rows.texts[16:], own.rows.embeddings[16:], labels[16:])
    moved = of_real(own.rows.take(range(16))).joined(new, own.origins[16:])
    weight = weighting.weighted_by_teacher(moved, 0).weight
    assert weight[16] < 0.5 < weight[17:].min() and (weight[:16] == 1).all()


def test_soft_labels_share_a_rows_weight_among_classes(own):
    soft = weighting.softly_labeled(own, 0)
    assert soft.real == 16 and soft.rows.labels[:16] == REAL
    _, probability = weighting.teach_new(own, 0)
    kept = probability > weighting.FAINT
    assert soft.weight[16:].sum() == pytest.approx(probability[kept].sum())
    assert len(soft) == 16 + kept.sum()
    texts = soft.rows.texts[16:]
    assert texts == [f"new {row}" for row in np.nonzero(kept)[0]]
    assert soft.origins[16:].tolist() == [
        own.origins[16 + row].tolist() for row in np.nonzero(kept)[0]
    ]
