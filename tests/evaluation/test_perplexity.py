"""Perplexity from nats and tokens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.evaluation.fidelity.perplexity import perplexity

COUNTS = st.lists(st.tuples(st.floats(0, 500), st.integers(50, 100)), min_size=1, max_size=20)


def test_tokens_weigh_alike_whatever_text_they_stand_in():
    found = perplexity([(3 * math.log(8), 3), (math.log(2), 1)])
    assert found.corpus == pytest.approx(2 ** (10 / 4))
    assert found.texts.mean == pytest.approx((8 + 2) / 2)
    assert found.tokens == 4


def test_a_uniform_guess_among_ten_has_perplexity_ten():
    assert perplexity([(n * math.log(10), n) for n in (1, 5, 9)]).corpus == pytest.approx(10)


@given(COUNTS, st.randoms())
def test_the_order_of_the_texts_has_no_influence(counts, random):
    shuffled = random.sample(counts, len(counts))
    assert perplexity(shuffled).corpus == pytest.approx(perplexity(counts).corpus)


@given(COUNTS)
def test_the_corpus_lies_among_its_texts(counts):
    found = perplexity(counts)
    assert found.texts.min - 1e-9 <= found.corpus <= found.texts.max * (1 + 1e-9)


def test_texts_without_tokens_are_passed_over():
    assert perplexity([(0.0, 0), (1.0, 1)]) == perplexity([(1.0, 1)])


@pytest.mark.parametrize("counts", [[], [(0.0, 0)], [(-1.0, 2)], [(1.0, -2)], [(math.nan, 1)]])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError):
        perplexity(counts)
