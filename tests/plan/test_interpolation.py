"""Points lie where SMOTE puts them, each computed on its own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import SMOTE

from smotext_ray.plan.interpolation import beta_lam, dirichlet_lam, interpolate, mix


def pairs(seed: int, n: int = 50, d: int = 24):
    rng = np.random.default_rng(seed)
    x, neighbor = rng.normal(size=(2, n, d)).astype(np.float32)
    return x, neighbor, rng.random(n, dtype=np.float32)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_equal_to_imbalanced_learn():
    x, _, lam = pairs(0)
    rng = np.random.default_rng(1)
    near = np.stack([rng.choice(50, 5, replace=False) for _ in range(50)])
    rows, columns = rng.integers(0, 50, 50), rng.integers(0, 5, 50)
    expected = SMOTE()._generate_samples(x, x, near, rows, columns, lam[:, None])
    got = interpolate(x[rows], x[near[rows, columns]], lam, unit_norm=False)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_ends():
    x, neighbor, _ = pairs(0)
    for unit_norm in (False, True):
        expected = (unit(x), unit(neighbor)) if unit_norm else (x, neighbor)
        for lam in (0, 1):
            got = interpolate(x, neighbor, np.full(50, lam, np.float32), unit_norm)
            np.testing.assert_allclose(got, expected[lam], atol=1e-6)


def test_unit_norm():
    x, neighbor, lam = pairs(0)
    got = interpolate(x, neighbor, lam, unit_norm=True)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_lerp_without_unit_norm_shortens():
    x, neighbor, lam = pairs(0)
    got = interpolate(unit(x), unit(neighbor), lam, unit_norm=False)
    assert (np.linalg.norm(got, axis=1) < 0.999).any()


def test_zeros():
    x, zero = np.float32([[2, 0]]), np.zeros((1, 2), np.float32)
    half = np.float32([0.5])
    assert interpolate(x, zero, half, unit_norm=False).tolist() == [[1, 0]]
    assert interpolate(zero, x, half, unit_norm=True).tolist() == [[1, 0]]
    assert interpolate(zero, zero, half, unit_norm=True).tolist() == [[0, 0]]
    # The middle of opposite rows is the origin, which has no direction: the source is taken.
    assert interpolate(x, -x, half, unit_norm=True).tolist() == [[1, 0]]


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 40), max_size=4),
    st.booleans(),
)
def test_rows_are_byte_equal_in_any_batch(seed, cuts, unit_norm):
    x, neighbor, lam = pairs(seed, n=40, d=37)
    neighbor[::7] = x[::7]
    neighbor[3::7] = -x[3::7]
    whole = interpolate(x, neighbor, lam, unit_norm)
    edges = sorted({0, 1, 40, *cuts})
    parts = [
        interpolate(x[a:b], neighbor[a:b], lam[a:b], unit_norm)
        for a, b in itertools.pairwise(edges)
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("alpha", [0.2, 0.5, 2.0, 8.0])
def test_weights_follow_the_beta_law_of_mixup(alpha):
    u = np.random.default_rng(0).random(20_000, np.float32)
    lam = beta_lam(u, alpha)
    assert lam.dtype == np.float32 and lam.min() >= 0 and lam.max() <= 1
    assert scipy.stats.kstest(lam, scipy.stats.beta(alpha, alpha).cdf).statistic < 0.02
    order = np.argsort(u)
    assert (np.diff(lam[order]) >= 0).all()  # one number, one weight: draws stay what they were
    np.testing.assert_array_equal(lam[:100], beta_lam(u[:100], alpha))


def test_the_law_of_1_is_smotes_own():
    u = np.random.default_rng(0).random(100, np.float32)
    assert beta_lam(u, 1.0) is u


# --- several neighbors ---


@pytest.mark.parametrize("unit_norm", [False, True])
def test_a_mixture_with_one_neighbor_is_the_line_to_it(unit_norm):
    x, neighbor, lam = pairs(3, 300)
    mixed = mix(x, neighbor[:, None], lam[:, None], unit_norm)
    assert mixed.tobytes() == interpolate(x, neighbor, lam, unit_norm).tobytes()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 200), st.booleans())
def test_a_mixture_is_convex_and_each_row_its_own(seed, j, n, unit_norm):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    neighbors = rng.normal(size=(n, j, 6)).astype(np.float32)
    lam = dirichlet_lam(rng.random((n, j), np.float32), 1.0)
    points = mix(x, neighbors, lam, unit_norm)
    own = (1 - lam.sum(axis=1, dtype=float))[:, None] * x
    expected = own + np.einsum("nj,njd->nd", lam.astype(float), neighbors)
    if unit_norm:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(points, expected, atol=1e-4)
    row = rng.integers(n)
    alone = mix(x[row : row + 1], neighbors[row : row + 1], lam[row : row + 1], unit_norm)
    assert alone.tobytes() == points[row].tobytes()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0.05, 20))
def test_weights_of_a_mixture_are_shares(seed, j, alpha):
    u = np.random.default_rng(seed).random((100, j), np.float32)
    lam = dirichlet_lam(u, alpha)
    assert lam.dtype == np.float32 and lam.shape == (100, j)
    assert (lam >= 0).all() and (lam.sum(axis=1, dtype=float) <= 1 + 1e-6).all()
    np.testing.assert_allclose(
        dirichlet_lam(u[:, :1], alpha)[:, 0], beta_lam(u[:, 0], alpha), atol=1e-7
    )


@pytest.mark.parametrize("alpha", [0.4, 1.0, 3.0])
def test_weights_of_a_mixture_follow_dirichlets_law(alpha):
    # Each part, the row's own too, is Beta(alpha, 3 alpha); their covariance is the law's.
    lam = dirichlet_lam(np.random.default_rng(0).random((20_000, 3), np.float32), alpha)
    parts = np.column_stack([lam, 1 - lam.sum(axis=1, dtype=float)]).astype(float)
    marginal = scipy.stats.beta(alpha, 3 * alpha)
    for part in parts.T:
        assert scipy.stats.kstest(np.clip(part, 0, 1), marginal.cdf).pvalue > 0.01
    expected = scipy.stats.dirichlet([alpha] * 4).cov()
    np.testing.assert_allclose(np.cov(parts.T), expected, atol=0.003)
