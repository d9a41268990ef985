"""The attack's figures: by hand, by scikit-learn, and 0.5 where there is nothing to find."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from smotext_ray.evaluation.leakage import membership
from smotext_ray.evaluation.leakage.membership import (
    attack,
    auc,
    membership_inference,
    tpr_at_1_fpr,
)
from smotext_ray.evaluation.leakage.similarity import Records, membership_scores

SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=12).map(
    lambda scores: np.array(scores, np.float64)
)


@given(SCORES, SCORES)
def test_auc_is_that_of_scikit_learn(members, others):
    truth = np.r_[np.ones(len(members)), np.zeros(len(others))]
    assert auc(members, others) == pytest.approx(roc_auc_score(truth, np.r_[members, others]))


@given(SCORES, SCORES)
def test_auc_turns_round_with_the_sides_and_sees_ranks_only(members, others):
    found = auc(members, others)
    assert found == pytest.approx(1 - auc(others, members))
    assert found == auc(np.exp(members), np.exp(others))
    assert found == pytest.approx(auc(members[::-1], others[::-1]))


@given(st.lists(st.integers(0, 4), min_size=2, max_size=7), st.data())
def test_members_that_could_be_any_records_have_auc_one_half(scores, data):
    n = data.draw(st.integers(1, len(scores) - 1))
    found = []
    for chosen in itertools.combinations(range(len(scores)), n):
        others = [s for i, s in enumerate(scores) if i not in chosen]
        found.append(auc(np.array([scores[i] for i in chosen]), np.array(others)))
    assert np.mean(found) == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(5))
def test_tpr_is_the_highest_of_the_roc_curve_at_one_percent(seed):
    rng = np.random.default_rng(seed)
    members, others = rng.normal(1.5, size=200).round(1), rng.normal(size=450).round(1)
    truth = np.r_[np.ones(200), np.zeros(450)]
    fpr, tpr, _ = roc_curve(truth, np.r_[members, others], drop_intermediate=False)
    found = tpr_at_1_fpr(members, others)
    assert found == pytest.approx(tpr[fpr <= 0.01].max())
    assert 0 < found < 1


def test_one_percent_allows_one_false_alarm_in_a_hundred():
    others = np.arange(100.0)
    members = np.array([98.5, 97.5, 99.5, 0.0])
    assert tpr_at_1_fpr(members, others) == 0.5
    assert tpr_at_1_fpr(members, others[1:]) == 0.25  # 99 others: none


def test_scores_that_are_all_equal_find_nobody():
    found = attack(np.ones(30), np.ones(200))
    assert (found.auc, found.auc_low, found.auc_high) == (0.5, 0.5, 0.5)
    assert (found.tpr_at_1_fpr, found.tpr_low, found.tpr_high) == (0.0, 0.0, 0.0)


def test_the_interval_holds_the_truth_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(membership, "RESAMPLES", 200)
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = attack(rng.normal(1.0, size=60), rng.normal(size=60), seed)
        held += found.auc_low <= 0.7602 <= found.auc_high  # Phi(1 / sqrt(2))
        assert found.auc_low <= found.auc <= found.auc_high
        assert found.tpr_at_1_fpr is None  # of 60 others, 1% is nobody
    assert 51 <= held < 60


def test_the_attack_is_repeatable():
    rng = np.random.default_rng(0)
    members, others = rng.normal(size=20), rng.normal(size=150)
    assert attack(members, others, seed=4) == attack(members, others, seed=4)
    assert attack(members, others, seed=4) != attack(members, others, seed=5)


def texts_about(n, rng, vocabulary=400):
    return [" ".join(f"w{i}" for i in rng.integers(vocabulary, size=12)) for _ in range(n)]


def records(n, seed):
    rng = np.random.default_rng(seed)
    return Records(texts_about(n, rng), rng.normal(size=(n, 24)))


def test_copies_are_found_out_by_every_score():
    members, others = records(120, 0), records(150, 1)
    noise = np.random.default_rng(2).normal(scale=0.1, size=(120, 24))
    synthetic = Records(members.texts, members.embeddings + noise)
    found = membership_inference(members, others, synthetic)
    assert list(found.attacks) == [*membership_scores(others, others)]
    for result in found.attacks.values():
        assert result.auc_low > 0.95
        assert result.tpr_at_1_fpr > 0.5
    table = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (table["members"], table["non_members"], table["synthetic"]) == (120, 150, 120)


def test_nothing_is_found_in_texts_that_never_saw_the_members():
    found = membership_inference(records(200, 0), records(200, 1), records(200, 2))
    for result in found.attacks.values():
        assert result.auc_low <= 0.5 <= result.auc_high
        assert result.tpr_at_1_fpr < 0.06


def test_impossible_scores_are_refused():
    one = np.ones(1)
    for members, others in [
        (one[:0], one),
        (one, one[:0]),
        (one * np.nan, one),
        (one, one * np.nan),
    ]:
        for figure in (auc, tpr_at_1_fpr):
            with pytest.raises(ValueError):
                figure(members, others)
    with pytest.raises(ValueError):
        attack(one[:0], one)
