"""Post-processing: sums in any number of blocks, and estimates better than the noised rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.privacy.denoise import ClassSums, fit_denoiser

K = 4
PRIOR = np.array([0.09, 0.06, 0.03, 0.02])
CLIP = 5.0  # longer than all of the rows made here


def made(sizes, spread, noise, seed=0):
    """Class means, rows and noised rows of the model that the denoiser assumes."""
    random = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(sizes)), sizes)
    means = random.normal(size=(len(sizes), K)) * np.sqrt(PRIOR)
    rows = means[codes] + random.normal(size=(len(codes), K)) * np.sqrt(spread * PRIOR)
    return means, codes, rows, rows + random.normal(size=rows.shape) * noise


def fitted(noised, codes, noise):
    return fit_denoiser(ClassSums.of(noised, codes, codes.max() + 1), PRIOR, CLIP, noise)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.integers(0, 30))
def test_sums_of_two_blocks_are_those_of_one(codes, cut):
    codes = np.array(codes)
    rows = np.random.default_rng(0).normal(size=(len(codes), K))
    whole = ClassSums.of(rows, codes, 3)
    both = ClassSums.of(rows[:cut], codes[:cut], 3) + ClassSums.of(rows[cut:], codes[cut:], 3)
    assert (both.counts == whole.counts).all()
    np.testing.assert_allclose(both.sums, whole.sums, atol=1e-12)
    assert both.squares == pytest.approx(whole.squares)


def test_where_there_is_no_noise_a_row_is_what_it_was():
    _, codes, rows, noised = made([20, 30], spread=0.6, noise=1e-9)
    denoised = fitted(noised, codes, 1e-9)(noised, codes)
    # Except for a class's own mean, which is drawn a little to the public one.
    within = np.concatenate([rows[codes == c] - rows[codes == c].mean(0) for c in (0, 1)])
    again = np.concatenate([denoised[codes == c] - denoised[codes == c].mean(0) for c in (0, 1)])
    np.testing.assert_allclose(again, within, atol=1e-6)
    np.testing.assert_allclose(denoised, rows, atol=0.05)


def test_a_row_s_own_share_is_what_comes_nearest_to_it():
    _, codes, rows, noised = made([4000, 6000], spread=0.5, noise=0.3)
    denoiser = fitted(noised, codes, 0.3)
    means = np.stack([rows[codes == number].mean(0) for number in (0, 1)])
    own, seen = rows - means[codes], noised - denoiser.means[codes]
    best = (own * seen).sum(0) / np.square(seen).sum(0)  # least squares, which knows the rows
    np.testing.assert_allclose(denoiser.share, best, atol=0.03)


@pytest.mark.parametrize("sizes", [[5, 8, 200], [3000, 40, 9, 9]])
def test_means_are_nearer_than_those_of_the_noised_rows(sizes):
    noised_off, off = [], []
    for seed in range(20):
        means, codes, _, noised = made(sizes, spread=0.5, noise=0.6, seed=seed)
        denoiser = fitted(noised, codes, 0.6)
        noised_off.append(np.square(denoiser.means - means).sum())
        off.append(np.square(denoiser.estimates - means).sum())
    assert np.mean(off) < 0.8 * np.mean(noised_off)


@given(st.integers(0, 5), st.floats(1e-3, 10.0), st.floats(0, 2.0))
def test_shares_are_shares_whatever_is_measured(seed, noise, spread):
    _, codes, _, noised = made([2, 3], spread=spread, noise=noise, seed=seed)
    denoiser = fitted(noised, codes, noise)
    assert ((denoiser.share >= 0) & (denoiser.share < 1)).all()
    assert (np.abs(denoiser.estimates) <= np.abs(denoiser.means)).all()


def test_clipping_takes_from_the_public_variance_too():
    _, codes, _, noised = made([50, 50], spread=0.5, noise=0.1)
    sums = ClassSums.of(noised, codes, 2)
    loose, tight = (fit_denoiser(sums, PRIOR, norm, 0.1) for norm in (CLIP, 0.1))
    assert (tight.share < loose.share).all()
    assert (np.abs(tight.estimates) < np.abs(loose.estimates)).all()
