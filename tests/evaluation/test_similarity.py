"""Scores of nearness: by hand and by scikit-learn, and higher for what was seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KernelDensity

from smotext_ray.evaluation.leakage import similarity as module
from smotext_ray.evaluation.leakage.similarity import (
    Records,
    kernel_density,
    membership_scores,
    ngram_likelihood,
)

TEXT = st.lists(st.sampled_from("abc"), max_size=6).map(" ".join)


def cloud(n, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def records(n, seed=0):
    return Records([f"text {seed} {i}" for i in range(n)], cloud(n, seed=seed))


def test_cosines_are_to_the_nearest_and_to_the_five_nearest():
    candidates, synthetic = records(7), records(30, seed=1)
    cosines = np.sort(cosine_similarity(candidates.embeddings, synthetic.embeddings), axis=1)
    found = membership_scores(candidates, synthetic)
    np.testing.assert_allclose(found["max_cosine"], cosines[:, -1])
    np.testing.assert_allclose(found["mean_cosine"], cosines[:, -5:].mean(1))


def test_bigrams_by_hand():
    # Begins with a twice, once with b; after a comes b twice. Three words may follow any.
    counted = ["a b", "A, b!", "b"]
    found = ngram_likelihood(["a b", "b", "c", "", "a b a"], counted)
    start_a, a_b, start_b, unknown = 3 / 6, 3 / 5, 2 / 6, 1 / 6
    b_a = 1 / 3
    expected = [
        math.log(start_a * a_b) / 2,
        math.log(start_b),
        math.log(unknown),
        math.log(unknown),
        math.log(start_a * a_b * b_a) / 3,
    ]
    np.testing.assert_allclose(found, expected)


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_the_bigram_model_is_a_distribution(counted):
    vocabulary = {token for text in counted for token in text.split()}
    first = ngram_likelihood([*vocabulary, "never"], counted)
    assert np.exp(first).sum() == pytest.approx(1.0)


@given(st.lists(TEXT, min_size=1, max_size=5), TEXT, st.randoms())
def test_the_order_of_the_counted_texts_has_no_influence(counted, text, random):
    shuffled = random.sample(counted, len(counted))
    assert ngram_likelihood([text], shuffled) == ngram_likelihood([text], counted)


def test_kernel_density_is_scikit_learns_but_for_a_constant():
    x, y = cloud(9), cloud(40, seed=1)
    width = module._bandwidth(y)
    expected = KernelDensity(bandwidth=width).fit(y).score_samples(x)
    found = kernel_density(x, y)
    np.testing.assert_allclose(found - found[0], expected - expected[0])
    assert (found <= 0).all()


def test_the_kernel_is_as_wide_as_the_fifth_neighbor_is_far():
    y = np.arange(20.0)[:, None]
    assert module._bandwidth(y) == 3.0  # most have two on one side, three on the other
    assert module._bandwidth(np.repeat(y, 4, axis=1)) == 3.0  # twice the distance, four axes
    for one in (np.ones((3, 1)), np.ones((1, 1))):
        assert module._bandwidth(one) == 1e-2


def test_far_away_the_density_is_low_but_a_number():
    found = kernel_density(np.array([[0.0], [1e3]]), np.zeros((2, 1)))
    assert found[0] == 0.0
    assert np.isfinite(found).all()
    assert found[1] < -1e6


def test_the_block_size_has_no_influence(monkeypatch):
    candidates, synthetic = records(11), records(30, seed=1)
    whole = membership_scores(candidates, synthetic)
    monkeypatch.setattr(module, "BLOCK", 4)
    for name, scores in membership_scores(candidates, synthetic).items():
        np.testing.assert_allclose(scores, whole[name])


def test_what_was_seen_is_nearest_by_every_score():
    synthetic = Records(["the ship sank", "prices rose again"], np.eye(3)[:2])
    candidates = Records(["prices rose again", "unknown words"], np.eye(3)[1:] * 5)
    for name, scores in membership_scores(candidates, synthetic).items():
        assert scores[0] > scores[1], name
    assert membership_scores(candidates, synthetic)["max_cosine"].tolist() == [1.0, 0.0]


def test_texts_and_embeddings_must_fit():
    with pytest.raises(ValueError, match="embeddings"):
        Records(["a"], np.eye(2))
    with pytest.raises(ValueError, match="width"):
        membership_scores(Records(["a"], np.ones((1, 2))), records(2))
    with pytest.raises(ValueError):
        membership_scores(Records([], np.ones((0, 6))), records(2))
