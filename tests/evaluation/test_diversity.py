"""Diversity by hand, by sacrebleu, and on equal amounts of text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from smotext_ray.evaluation.fidelity.diversity import (
    compare_diversity,
    distinct_by_class,
    distinct_n,
    self_bleu,
    type_token,
)
from smotext_ray.utils.text import words

TEXT = st.lists(st.sampled_from("abcd.,"), max_size=10).map(" ".join)
TEXTS = st.lists(TEXT, min_size=2, max_size=8)


def test_distinct_grams_are_counted_over_all_texts_but_not_across_them():
    texts = ["the ship sank", "The ship sailed"]
    assert distinct_n(texts, 1) == 4 / 6
    assert distinct_n(texts, 2) == 3 / 4
    assert distinct_n(texts, 3) == 1.0
    assert distinct_n(texts, 4) is None
    assert distinct_n([], 1) is None


@given(TEXTS, st.integers(1, 4))
def test_distinct_n_is_a_share_and_half_of_it_when_all_is_said_twice(texts, n):
    once, twice = distinct_n(texts, n), distinct_n(texts * 2, n)
    if once is None:
        assert twice is None
    else:
        assert 0.0 < once <= 1.0
        assert twice == pytest.approx(once / 2)


@given(TEXTS, st.integers(1, 4), st.randoms())
def test_the_order_of_the_texts_has_no_influence_on_distinct_n(texts, n, random):
    assert distinct_n(random.sample(texts, len(texts)), n) == distinct_n(texts, n)


def test_type_token_is_within_a_text():
    assert type_token("no, No ship") == 2 / 3


def naive_self_bleu(texts):
    metric = BLEU(effective_order=True)
    scores = [
        metric.sentence_score(text, [*texts[:i], *texts[i + 1 :]]).score
        for i, text in enumerate(texts)
    ]
    return sum(scores) / len(scores)


@given(TEXTS)
def test_self_bleu_is_that_of_sacrebleu_with_all_others_as_references(texts):
    assert self_bleu(texts) == pytest.approx(naive_self_bleu(texts))


def test_self_bleu_of_sentences_is_that_of_sacrebleu():
    texts = [
        "The ship sank off Crete, said the owner.",
        "The ship, a tanker, sank yesterday.",
        "Wheat prices rose by 3.5% in Chicago today.",
        "Prices of wheat rose in Chicago -- again.",
        "THE ship sank off Malta.\n",
    ]
    expected = naive_self_bleu(texts)
    assert 5 < expected < 60
    assert self_bleu(texts) == pytest.approx(expected)
    assert self_bleu(texts[::-1]) == pytest.approx(expected)


def test_self_bleu_of_equal_texts_is_100_and_of_strangers_0():
    assert self_bleu(["a b c d e"] * 3) == pytest.approx(100.0)
    assert self_bleu(["a b c d e", "f g h i j"]) == 0.0


def test_self_bleu_is_taken_on_a_sample_drawn_by_seed():
    texts = [f"word{i} word{i % 7} word{i % 3} end" for i in range(40)]
    drawn = self_bleu(texts, sample=10, seed=1)
    assert drawn == self_bleu(texts, sample=10, seed=1)
    assert drawn != self_bleu(texts, sample=10, seed=2)
    assert self_bleu(texts, sample=40, seed=1) == pytest.approx(self_bleu(texts, seed=2))


def test_both_sides_are_measured_on_equal_numbers_of_words_and_texts():
    real = [f"word{i} word{i + 1} word{i + 2}" for i in range(100)]
    found = compare_diversity(real, [*real[:10], " ", "!"])
    assert found.real.words_compared == found.synthetic.words_compared == 30
    assert found.real.self_bleu_texts == found.synthetic.self_bleu_texts == 10
    assert (found.real.texts, found.synthetic.texts) == (100, 10)
    assert found.synthetic.distinct_1 == 12 / 30
    # 30 words of 100 texts; on all of them it would be 102 / 300.
    assert found.real.distinct_1 > 12 / 30


def test_a_long_text_is_cut_to_the_words_compared():
    found = compare_diversity(["a b c d a a a a", "d c b a d d d d"], ["a a", "a a"])
    assert (found.real.words_compared, found.real.distinct_1) == (4, 1.0)
    assert found.synthetic.distinct_1 == 1 / 4


def test_longer_texts_are_not_more_repetitive_for_being_longer():
    rng = np.random.default_rng(0)
    long = [" ".join(f"w{i}" for i in rng.integers(0, 300, 100)) for _ in range(40)]
    short = [" ".join(f"w{i}" for i in rng.integers(0, 300, 12)) for _ in range(40)]
    found = compare_diversity(long, short)
    assert found.real.length_compared == found.synthetic.length_compared == 12
    assert found.real.type_token == pytest.approx(found.synthetic.type_token, abs=0.02)
    assert found.real.self_bleu == pytest.approx(found.synthetic.self_bleu, abs=2)
    assert type_token(long[0]) < found.real.type_token - 0.05


def test_diversity_within_classes_takes_equally_many_words_of_each_side():
    one = ["oil rose fast", "oil fell fast"], ["a", "b"]
    said_twice = ["oil rose fast oil rose fast"] * 2, ["a", "b"]
    many = [f"w{i} w{i + 1} w{i + 2}" for i in range(60)], ["a"] * 30 + ["b"] * 30
    found = distinct_by_class({"one": one, "twice": said_twice, "many": many})
    assert found["one"] == found["many"] == 1.0
    assert distinct_by_class({"twice": said_twice})["twice"] == pytest.approx(3 / 5)
    across = ["oil rose", "oil rose"], ["a", "b"]
    assert distinct_by_class({"across": across}) == {"across": 1.0}  # each class for itself
    assert distinct_by_class({"one": one, "other": (["x y"], ["c"])}) == {}


def test_equal_sides_have_equal_figures():
    texts = ["the ship sank", "the war ended at last", "prices rose"]
    found = compare_diversity(texts, texts)
    assert found.real == found.synthetic
    assert found.real.length.mean == 10 / 3
    assert found.real.type_token == 1.0
    assert found.real.distinct_2 == 1.0
    json.dumps(found.as_json(), allow_nan=False)


def test_monotonous_texts_are_told_from_varied_ones():
    varied = [f"number {i} of {i * i} letters went to {i % 11} on day {i % 31}" for i in range(60)]
    monotonous = [f"the price of wheat rose again today by {i % 5} cents" for i in range(60)]
    found = compare_diversity(varied, monotonous)
    assert found.synthetic.self_bleu > found.real.self_bleu + 20
    assert found.synthetic.distinct_1 < found.real.distinct_1 / 2


@settings(max_examples=30)
@given(TEXTS, TEXTS)
def test_figures_are_in_their_ranges(real, synthetic):
    if min(sum(bool(words(text)) for text in side) for side in (real, synthetic)) < 2:
        with pytest.raises(ValueError, match="two real and two synthetic texts"):
            compare_diversity(real, synthetic)
        return
    found = compare_diversity(real, synthetic)
    for side in (found.real, found.synthetic):
        assert 0.0 < side.distinct_1 <= 1.0
        assert 0.0 <= side.self_bleu <= 100.0 + 1e-9
        assert 0.0 < side.type_token <= 1.0
        assert side.words_compared <= side.texts * side.length.mean + 1e-9


def test_impossible_input_is_refused():
    with pytest.raises(ValueError):
        distinct_n(["a"], 0)
    with pytest.raises(ValueError):
        self_bleu(["a"])
