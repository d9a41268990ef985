"""Rows of held-out texts and of batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_ray.bridge.data import batch_stream, hash_texts, split_held_out
from smotext_ray.errors import UserError


def test_held_out_rows_are_set_aside_and_the_same_each_time():
    held_out, rest = split_held_out(80, 16, 8, seed=0)
    assert (len(held_out), len(rest)) == (16, 64)
    assert sorted([*held_out, *rest]) == list(range(80))
    again = split_held_out(80, 16, 8, seed=0)
    assert np.array_equal(again[0], held_out) and np.array_equal(again[1], rest)
    assert not np.array_equal(split_held_out(80, 16, 8, seed=1)[0], held_out)


def test_too_few_texts_are_refused():
    split_held_out(24, 16, 8, seed=0)
    with pytest.raises(UserError, match=r"at least 24 texts .* step of 8\); there are 23"):
        split_held_out(23, 16, 8, seed=0)


def take(lengths, batch_size, n, first_step=0, seed=0):
    stream = batch_stream(np.asarray(lengths), batch_size, seed, first_step)
    return [next(stream).tolist() for _ in range(n)]


@given(st.integers(8, 60), st.integers(1, 8), st.integers(0, 40), st.integers(0, 5))
@settings(max_examples=50)
def test_the_batch_of_a_step_depends_on_seed_and_step_alone(n, batch_size, first, seed):
    lengths = np.arange(n) % 7
    alone = take(lengths, batch_size, 5, first, seed)
    assert alone == take(lengths, batch_size, first + 5, 0, seed)[first:]


@given(st.integers(8, 60), st.integers(1, 8))
@settings(max_examples=50)
def test_an_epoch_holds_a_row_once_but_for_what_fills_no_batch(n, batch_size):
    per_epoch = n // batch_size
    batches = take(range(n), batch_size, 2 * per_epoch)
    for epoch in (batches[:per_epoch], batches[per_epoch:]):
        rows = [row for batch in epoch for row in batch]
        assert len(rows) == len(set(rows)) == per_epoch * batch_size
        assert set(rows) <= set(range(n))


def test_epochs_and_seeds_differ():
    batches = take(range(80), 4, 40)
    assert batches[:20] != batches[20:]
    assert batches[:20] != take(range(80), 4, 20, seed=1)


def test_a_batch_holds_rows_of_like_length_in_no_order_of_length():
    lengths = np.random.default_rng(0).permutation(400)
    found = [[lengths[row] for row in batch] for batch in take(lengths, 10, 40)]
    assert max(max(row) - min(row) for row in found) < 10
    starts = [row[0] for row in found]
    assert starts != sorted(starts)


def test_the_hash_tells_texts_and_their_order_and_bounds():
    hashes = [hash_texts(texts) for texts in (["ab", "c"], ["a", "bc"], ["c", "ab"], ["abc"], [])]
    assert len(set(hashes)) == 5
    assert hash_texts(["ab", "c"]) == hashes[0]
    hash_texts(["\ud800"])  # half a surrogate pair, as a table may hold
