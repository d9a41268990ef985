"""Runs of words: made, shared, and looked up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.evaluation.ngrams import (
    ShingleIndex,
    jaccard,
    longest_shared_run,
    ngrams,
    shingles,
)
from smotext_ray.utils.text import words

TOKENS = st.lists(st.sampled_from("abcd"), max_size=12)
TEXT = TOKENS.map(" ".join)


@given(TOKENS, st.integers(1, 5))
def test_ngrams_are_all_runs_of_their_length(tokens, n):
    expected = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    assert ngrams(tokens, n) == expected


def test_a_short_text_is_one_shingle_and_one_without_words_none():
    assert shingles("A b c, b!") == {("a", "b", "c"), ("b", "c", "b")}
    assert shingles("a b") == {("a", "b")}
    assert shingles(" .!") == frozenset()


def test_jaccard_is_shared_over_all():
    a, b = shingles("a b c d"), shingles("b c d e")
    assert jaccard(a, b) == pytest.approx(1 / 3)
    assert jaccard(a, a) == 1.0
    assert jaccard(frozenset(), frozenset()) == 0.0


@given(TEXT, TEXT)
def test_the_longest_shared_run_is_that_of_trying_all(text, other):
    a, b = words(text), words(other)
    lengths = range(1, min(len(a), len(b)) + 1)
    expected = max((n for n in lengths if set(ngrams(a, n)) & set(ngrams(b, n))), default=0)
    assert longest_shared_run(text, other) == longest_shared_run(other, text) == expected


def test_a_word_that_is_everywhere_is_still_seen():
    # difflib's heuristic would pass over it in texts of 200 words and more.
    assert longest_shared_run("a " + "the " * 300, "no use " + "the " * 250) == 250


@given(TEXT, st.lists(TEXT, max_size=8), st.sampled_from([0.25, 0.5, 0.6, 0.8, 1.0]))
def test_the_index_finds_what_comparing_all_finds(text, texts, threshold):
    expected = any(jaccard(shingles(text), shingles(other)) >= threshold for other in texts)
    assert ShingleIndex(texts).holds_near(text, threshold) == expected


def test_a_similarity_of_just_the_threshold_is_near():
    text, other = "a b c d e f g", "a b c d e f"  # four shingles of five
    assert jaccard(shingles(text), shingles(other)) == 0.8
    assert ShingleIndex([other]).holds_near(text, 0.8)
    assert ShingleIndex([text]).holds_near(other, 0.8)


def test_texts_without_words_are_near_nothing():
    assert not ShingleIndex(["", " !"]).holds_near("", 0.8)
