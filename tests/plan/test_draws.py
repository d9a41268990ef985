"""The plan's random numbers: the same for an index however they are asked for, and uniform."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from smotext_ray.plan.draws import draw


@given(st.integers(0, 2**63), st.integers(0, 200), st.integers(0, 200))
def test_draws_of_a_part_are_a_part_of_the_draws(seed, start, length):
    whole, part = draw(seed, "a", 0, 0, 400), draw(seed, "a", 0, start, start + length)
    for name in ("u_source", "u_neighbor", "lam", "decode_seed"):
        expected = getattr(whole, name)[start : start + length]
        assert getattr(part, name).tobytes() == expected.tobytes()


def test_draws_differ_by_seed_label_type_and_round():
    keys = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1), (0, 1, 0), (0, "1", 0), (0, "", 0)]
    first = [draw(*key, 0, 4).decode_seed.tolist() for key in keys]
    assert len({tuple(seeds) for seeds in first}) == len(keys)
    twin = draw(0, np.int64(1), 0, 0, 4).decode_seed.tolist()
    assert twin == draw(0, 1, 0, 0, 4).decode_seed.tolist()


def test_draws_are_pinned():
    # A change here changes every plan that users have made: raise the manifest's version.
    draws = draw(0, "grain", 0, 0, 2)
    assert draws.decode_seed.tolist() == [1414042437, 902246190]
    assert draws.lam.tolist() == [0.8865971565246582, 0.544471800327301]


def test_draws_are_uniform_and_unrelated():
    n = 40_000
    draws = draw(3, "grain", 1, 0, n)
    assert draws.lam.dtype == np.float32
    assert draws.decode_seed.dtype == np.int64
    columns = [draws.u_source, draws.u_neighbor, draws.lam, draws.decode_seed / 2**31]
    for column in columns:
        assert column.min() >= 0
        assert column.max() < 1
        assert stats.kstest(column, "uniform").pvalue > 0.01
    off_diagonal = np.corrcoef(columns)[np.triu_indices(4, 1)]
    assert np.abs(off_diagonal).max() < 4 / np.sqrt(n)
    assert len(np.unique(draws.decode_seed)) > n - 10
