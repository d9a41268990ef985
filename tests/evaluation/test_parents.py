"""What a record's own synthetic texts give away, apart from what the corpus gives away anyway."""

from __future__ import annotations

import numpy as np

from smotext_ray.evaluation.leakage import parents
from smotext_ray.evaluation.leakage.parents import attack_parents, matched_parents

D = 32


def records(n, seed):
    x = np.random.default_rng(seed).normal(size=(n, D))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def texts_near(parents, noise, seed=9):
    """One text near the middle of each row and the next one."""
    middle = parents + np.roll(parents, -1, axis=0)
    return middle + noise * np.random.default_rng(seed).normal(size=middle.shape)


def own_of_neighbors(n):
    """Text i was made from rows i and i + 1."""
    return np.stack([np.arange(n), np.roll(np.arange(n), -1)], axis=1)


def test_what_leaks_is_gone_without_a_records_own_texts():
    members, others = records(60, 0), records(60, 1)
    found = attack_parents(members, others, texts_near(members, 0.1), own_of_neighbors(60))
    assert found.all_texts.auc > 0.95
    assert 0.35 < found.without_own.auc < 0.65


def test_a_difference_of_the_corpus_from_the_test_texts_stays():
    drift = np.zeros(D)
    drift[0] = 1.0
    members, others = records(60, 0) + drift, records(60, 1)
    found = attack_parents(members, others, texts_near(members, 0.1), own_of_neighbors(60))
    assert found.without_own.auc > 0.8


def test_texts_that_have_nothing_of_their_parents_give_nothing_away():
    members, others = records(100, 0), records(100, 1)
    found = attack_parents(members, others, records(100, 2), own_of_neighbors(100))
    assert found.all_texts.auc_low < 0.5 < found.all_texts.auc_high


def test_many_members_are_compared_in_parts(monkeypatch):
    members, others = records(60, 0), records(60, 1)
    texts, own = texts_near(members, 0.1), own_of_neighbors(60)
    whole = attack_parents(members, others, texts, own)
    monkeypatch.setattr(parents, "BLOCK", 7)
    assert attack_parents(members, others, texts, own) == whole


def test_a_member_that_all_texts_were_made_from_cannot_do_without_them():
    members, others = records(3, 0), records(3, 1)
    own = np.array([[0, 1], [0, 2], [0, -1]])
    assert attack_parents(members, others, records(3, 2), own) is None
    assert attack_parents(members[:1], others[:1], records(3, 2), np.full((3, 2), -1)) is None


def test_members_are_parents_and_of_the_same_classes_as_the_others():
    real = ["grain"] * 10 + ["ship"] * 10
    test = ["ship"] * 3 + ["grain"] * 30 + ["earn"] * 5
    parents = np.array([[0, 1], [1, 2], [12, 13], [14, 15], [16, 17]])
    members, others = matched_parents(real, test, parents)
    assert set(members) <= set(parents.ravel()) and len(set(members)) == len(members) == 6
    assert [real[row] for row in members] == [test[row] for row in others]
    assert [real[row] for row in members] == ["grain"] * 3 + ["ship"] * 3
