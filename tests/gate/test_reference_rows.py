"""The rows of a class that the reference is made of: the same however the corpus is read."""

from __future__ import annotations

import numpy as np
import pytest

from smotext_ray.gate import reference_rows
from smotext_ray.gate.reference_rows import EVERY, last_hashes

MOST = 7


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Three classes of 50, 20 and 5 rows, and one that is taken whole."""
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat([0, 1, 2, 3], [50, 20, 5, 30]))
    return codes, rng.integers(0, 2**63, len(codes)).astype(np.uint64)


def chosen(codes, hashes, parts, most=MOST):
    is_whole = np.array([False, False, False, True])
    split = zip(np.array_split(codes, parts), np.array_split(hashes, parts), strict=True)
    last = last_hashes(split, is_whole, most)
    return last, hashes <= last[codes]


@pytest.mark.parametrize("parts", [1, 4, 105])
@pytest.mark.parametrize("held", [1, 10, 1 << 20])
def test_they_are_the_smallest_hashes_of_each_class(rows, parts, held, monkeypatch):
    monkeypatch.setattr(reference_rows, "HELD_ROWS", held)
    codes, hashes = rows
    last, is_chosen = chosen(codes, hashes, parts)
    assert np.bincount(codes[is_chosen]).tolist() == [MOST, MOST, 5, 30]
    for code in (0, 1):
        smallest = np.sort(hashes[codes == code])[:MOST]
        assert (np.sort(hashes[is_chosen & (codes == code)]) == smallest).all()
    assert last[2] == last[3] == EVERY


def test_of_a_grown_corpus_only_displaced_rows_are_left_out(rows):
    codes, hashes = rows
    _, before = chosen(codes[:60], hashes[:60], 3)
    _, after = chosen(codes, hashes, 3)
    gone = before & ~after[:60]
    for code in (0, 1):
        own = codes == code
        displaced = (gone & own[:60]).sum()
        assert displaced == (after & own)[60:].sum() - (MOST - (before & own[:60]).sum())


def test_a_class_of_just_as_many_rows_is_whole():
    codes, hashes = np.zeros(MOST, np.int64), np.arange(MOST).astype(np.uint64)
    last = last_hashes([(codes, hashes)], np.array([False]), MOST)
    assert last.tolist() == [EVERY]
