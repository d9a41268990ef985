"""Rows of held-out texts, of steps and of batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_ray.errors import UserError
from smotext_ray.training.data import (
    cut,
    hash_texts,
    micro_batches,
    padded,
    pick_evenly,
    split_held_out,
    step_stream,
)
from smotext_ray.training.workers import Workers


def test_held_out_rows_are_set_aside_and_the_same_each_time():
    held_out, rest = split_held_out(80, 16, seed=0)
    assert (len(held_out), len(rest)) == (16, 64)
    assert sorted([*held_out, *rest]) == list(range(80))
    again = split_held_out(80, 16, seed=0)
    assert np.array_equal(again[0], held_out) and np.array_equal(again[1], rest)
    assert not np.array_equal(split_held_out(80, 16, seed=1)[0], held_out)


def test_too_few_texts_are_refused():
    split_held_out(17, 16, seed=0)
    with pytest.raises(UserError, match=r"more than the 16 held-out texts, but there are 16"):
        split_held_out(16, 16, seed=0)


def test_of_a_held_out_file_every_length_is_picked_alike_as_far_as_it_lasts():
    classes = np.array([0] * 50 + [1] * 3 + [2] * 20)
    picked = pick_evenly(classes, 19, seed=0)
    assert len(set(picked.tolist())) == 19
    assert np.bincount(classes[picked]).tolist() == [8, 3, 8]
    assert np.array_equal(picked, pick_evenly(classes, 19, seed=0))
    assert not np.array_equal(picked, pick_evenly(classes, 19, seed=1))
    assert sorted(pick_evenly(classes, 1000, seed=0)) == list(range(73))


def take(tokens, size, n, first_step=0, seed=0):
    """The hands of some steps, as lists."""
    stream = step_stream(np.asarray(tokens), np.asarray(tokens) + 7, size, seed, first_step)
    return [[hand.tolist() for hand in next(stream)] for _ in range(n)]


@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 40), st.integers(0, 5))
@settings(max_examples=50)
def test_the_rows_of_a_step_depend_on_seed_and_step_alone(n, size, first, seed):
    tokens = 1 + np.arange(n) % 7
    alone = take(tokens, size, 5, first, seed)
    assert alone == take(tokens, size, first + 5, 0, seed)[first:]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=200), st.integers(1, 50))
@settings(max_examples=50)
def test_an_epoch_holds_every_row_once(tokens, size):
    stream = step_stream(np.array(tokens), np.array(tokens) + 7, size, 0)
    for _ in range(2):
        rows: list[int] = []
        while len(rows) < len(tokens):
            rows += np.concatenate(next(stream)).tolist()
        assert sorted(rows) == list(range(len(tokens)))


def test_epochs_and_seeds_differ():
    tokens = np.full(80, 5)
    steps = take(tokens, 20, 40)
    assert steps[:20] != steps[20:]
    assert steps[:20] != take(tokens, 20, 20, seed=1)


def test_every_step_has_as_many_tokens_and_short_and_long_texts():
    """A step of one length undoes part of what the step before it learned."""
    tokens = np.random.default_rng(0).geometric(1 / 40, 20_000).clip(4, 160)
    for hands in take(tokens, 8000, 90):
        rows = np.concatenate(hands)
        assert 7200 < tokens[rows].sum() < 8800
        for low, high in ((4, 20), (20, 60), (60, 161)):
            some = rows[(low <= tokens[rows]) & (tokens[rows] < high)]
            expected = tokens[(low <= tokens) & (tokens < high)].sum() / tokens.sum()
            assert tokens[some].sum() / tokens[rows].sum() == pytest.approx(expected, abs=0.1)


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=100),
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(1, 4),
)
@settings(max_examples=100)
def test_batches_hold_every_row_within_the_budget(positions, of_hands, most, workers):
    positions = np.array(positions)
    hands = cut(np.arange(len(positions)), positions, of_hands)
    batches = micro_batches(hands, positions, most, workers)
    for parts, limit in ((hands, of_hands), (batches, most)):
        assert sorted(np.concatenate(parts)) == list(range(len(positions)))
        for part in parts:
            assert len(part) == 1 or padded(part, positions) <= limit


def test_batches_have_little_padding_and_workers_equally_much_to_do():
    tokens = np.random.default_rng(0).geometric(1 / 40, 20_000).clip(4, 160)
    positions = tokens + 7
    for hands in take(tokens, 8000, 20):
        for workers, most in ((1, 512), (2, 512), (1, 1100), (2, 1100), (2, 100_000)):
            batches = micro_batches([np.array(hand) for hand in hands], positions, most, workers)
            sizes = [padded(batch, positions) for batch in batches]
            loads = []
            for rank in range(workers):
                worker = Workers()
                worker.rank, worker.count = rank, workers
                loads.append(sum(padded(b, positions) for b in worker.share(batches, sizes)))
            assert sum(loads) == sum(sizes)
            if most < 100_000:
                whole = positions[np.concatenate(hands)].sum()
                assert whole > (0.98 if most == 512 else 0.85) * sum(sizes)
                assert max(loads) < 1.1 * np.mean(loads)
            assert min(loads) > 0


def test_the_hash_tells_texts_and_their_order_and_bounds():
    hashes = [hash_texts(texts) for texts in (["ab", "c"], ["a", "bc"], ["c", "ab"], ["abc"], [])]
    assert len(set(hashes)) == 5
    assert hash_texts(["ab", "c"]) == hashes[0]
    hash_texts(["\ud800"])  # half a surrogate pair, as a table may hold
