"""Lengths of texts: the quantiles of their numbers of words, counted table by table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.run.text_lengths import WordCounts


@given(st.lists(st.lists(st.integers(1, 30), max_size=20), max_size=5))
def test_they_are_the_quantiles_of_all_tables(tables):
    counts = WordCounts()
    for lengths in tables:
        texts = [" ".join(["word"] * n) for n in lengths]
        counts.add(pa.chunked_array([pa.array(texts, pa.string())]))
    everything = [n for lengths in tables for n in lengths]
    found = counts.lengths()
    if not everything:
        assert found is None
    else:
        low, median, high = np.quantile(everything, [0.1, 0.5, 0.9], method="inverted_cdf")
        assert (found.low, found.median, found.high) == (low, median, high)


def test_white_space_around_and_nulls_are_no_words():
    counts = WordCounts()
    counts.add(pa.chunked_array([["  corn \n prices\trose ", None, ""]]))
    found = counts.lengths()
    assert (found.low, found.high) == (1, 3)
