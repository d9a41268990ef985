"""Tokens that would repeat an n-gram: all of them are found, and no others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.models.repetition import Seen


def ngrams(tokens: list[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


@given(st.integers(1, 4), st.lists(st.integers(0, 2), max_size=30))
def test_they_are_those_that_make_an_n_gram_twice(n, tokens):
    text: list[int] = []
    seen = Seen(n, text)
    for token in tokens:
        known = ngrams(text, n)
        twice = {new for new in range(3) if ngrams([*text, new], n)[-1:] and
                 ngrams([*text, new], n)[-1] in known}  # fmt: skip
        assert seen.would_repeat() == twice
        text.append(token)


@given(st.integers(1, 3), st.integers(1, 5))
def test_a_text_that_heeds_it_has_no_n_gram_twice(n, steps):
    text: list[int] = []
    seen = Seen(n, text)
    for _ in range(4 * steps):
        left = set(range(4)) - seen.would_repeat()
        if not left:
            break
        text.append(min(left))
    assert len(set(ngrams(text, n))) == len(ngrams(text, n))


def test_several_tokens_at_once_are_read_too():
    text = [1, 2, 3]
    seen = Seen(2, text)
    assert seen.would_repeat() == set()
    text += [1, 2, 4, 1]
    assert seen.would_repeat() == {2}
    text.append(2)
    assert seen.would_repeat() == {3, 4}
