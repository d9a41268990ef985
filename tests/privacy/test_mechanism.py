"""The promise is kept by the numbers, whoever computes them."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.errors import UserError
from smotext_ray.privacy.mechanism import (
    Promise,
    add_noise,
    clip,
    noise_scale,
    promise,
    sensitivity,
)

FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)
ROWS = arrays(np.float64, st.tuples(st.integers(0, 6), st.integers(1, 5)), elements=FINITE)


def least_delta(scale: float, epsilon: float, sensitivity: float) -> float:
    """Delta of Gaussian noise at an epsilon: Balle and Wang 2018, theorem 8."""
    half, shift = sensitivity / (2 * scale), epsilon * scale / sensitivity
    return norm.cdf(half - shift) - math.exp(epsilon) * norm.cdf(-half - shift)


@given(ROWS, st.floats(1e-3, 1e3))
def test_no_row_is_longer_than_the_norm_and_all_keep_their_direction(rows, length):
    clipped = clip(rows, length)
    before, after = np.linalg.norm(rows, axis=1), np.linalg.norm(clipped, axis=1)
    assert (after <= length).all()
    np.testing.assert_allclose(after, np.minimum(before, length), rtol=1e-9)
    np.testing.assert_allclose(clipped * before[:, None], rows * after[:, None], rtol=1e-9)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_what_has_no_length_is_refused(odd):
    with pytest.raises(ValueError, match="NaN or infinity"):
        clip(np.array([[0.0, odd]]), 1.0)


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 8.0, 20.0])
@pytest.mark.parametrize("delta", [1e-5, 1e-8])
def test_the_scale_keeps_the_promise_and_spends_little_more(epsilon, delta):
    privacy = PrivacyConfig(epsilon=epsilon, delta=delta, clip_norm=0.7)
    scale = noise_scale(privacy)
    assert least_delta(scale, epsilon, 1.4) <= delta
    assert least_delta(scale / 1.12, epsilon, 1.4) > delta


def test_another_text_moves_a_clipped_record_by_twice_the_norm_at_most():
    rows = clip(np.array([[5.0, 0.0], [-3.0, 0.0]]), 0.5)
    privacy = PrivacyConfig(epsilon=1.0, clip_norm=0.5)
    assert np.linalg.norm(rows[0] - rows[1]) == pytest.approx(sensitivity(privacy))


def test_the_scale_goes_with_the_clipping_norm():
    one, three = (noise_scale(PrivacyConfig(epsilon=4.0, clip_norm=c)) for c in (1.0, 3.0))
    assert three == pytest.approx(3 * one, rel=1e-6)


def test_noise_is_gaussian_and_independent():
    rows = np.repeat([[0.0, 10.0, -3.0, 1.0]], 3000, axis=0)
    noise = add_noise(rows, 0.5) - rows
    assert noise.mean(0) == pytest.approx(0, abs=5 * 0.5 / 3000**0.5)
    np.testing.assert_allclose(np.cov(noise.T), 0.25 * np.eye(4), atol=0.035)
    assert (np.abs(noise) < 0.5).mean() == pytest.approx(norm.cdf(1) - norm.cdf(-1), abs=0.02)


def test_nobody_can_draw_the_noise_again():
    rows, drawn = np.zeros((2, 8)), []
    for _ in range(2):
        np.random.seed(0)
        drawn.append(add_noise(rows, 1.0))
    assert len(np.unique(np.concatenate(drawn))) == 32


def test_the_promise_says_what_it_rests_on():
    privacy = PrivacyConfig(epsilon=8.0, clip_norm=0.25, dimensions=4)
    made = promise(privacy)
    assert made == Promise.model_validate_json(made.model_dump_json())
    assert (made.epsilon, made.delta, made.sensitivity) == (8.0, 1e-5, 0.5)
    assert made.sigma == noise_scale(privacy)
    assert made.accountant.startswith("opendp 0.")
    assert "labels" in made.assumes and "one record" in made.unit
    assert "seed" not in made.model_dump_json()


def test_without_the_library_the_user_learns_its_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "opendp.prelude", None)
    with pytest.raises(UserError, match=r"pip install 'smotext-ray\[privacy\]'"):
        noise_scale(PrivacyConfig(epsilon=1.0))
