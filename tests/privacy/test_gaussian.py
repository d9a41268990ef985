"""The exact accountant: known values, and the definition of differential privacy itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from smotext_ray.privacy.gaussian import composed, delta_at, epsilon_at, largest_mu


@pytest.mark.parametrize(("mu", "epsilon"), [(0.3, 0.5), (1.0, 1.0), (1.0, 3.0), (2.5, 4.0)])
def test_delta_is_what_the_definition_says(mu, epsilon):
    """The integral of max(0, p - e^epsilon q) over the outcomes of two neighbors."""

    def excess(x):
        return max(0.0, norm.pdf(x - mu) - math.exp(epsilon) * norm.pdf(x))

    threshold = epsilon / mu + mu / 2  # where the two densities meet
    integral, _ = quad(excess, threshold, threshold + 40, limit=200)
    assert delta_at(mu, epsilon) == pytest.approx(integral, rel=1e-6)


# Computed apart from this code, with delta 1e-5: what the noise that an accountant of
# zero-concentrated privacy asks for at epsilon 1, 2, 4, 8 promises exactly.
@pytest.mark.parametrize(
    ("scale", "epsilon"), [(4.0451, 0.915), (2.1491, 1.840), (1.1576, 3.698), (0.6377, 7.438)]
)
def test_known_values(scale, epsilon):
    assert epsilon_at(1 / scale, 1e-5) == pytest.approx(epsilon, abs=1e-3)
    assert 1 / largest_mu(epsilon, 1e-5) == pytest.approx(scale, rel=1e-3)


def test_known_compositions():
    each = 1 / 0.6377
    assert epsilon_at(composed([each] * 2), 1e-5) == pytest.approx(11.4, abs=0.1)
    assert epsilon_at(composed([each] * 4), 1e-5) == pytest.approx(17.7, abs=0.1)


@given(st.floats(0.01, 20), st.floats(1e-12, 0.1))
def test_epsilon_and_mu_are_inverse(epsilon, delta):
    mu = largest_mu(epsilon, delta)
    assert delta_at(mu, epsilon) == pytest.approx(delta, rel=1e-6)
    assert epsilon_at(mu, delta) == pytest.approx(epsilon, rel=1e-5)


@given(st.floats(0.1, 10), st.floats(1e-9, 1e-3))
def test_less_noise_than_that_breaks_the_promise(epsilon, delta):
    assert delta_at(largest_mu(epsilon, delta) * 1.01, epsilon) > delta


@given(st.lists(st.floats(0.01, 3), min_size=1, max_size=5))
def test_releases_compose_to_one_of_a_longer_step(mus):
    """Independent Gaussians shifted by mus are one Gaussian shifted along their sum."""
    assert composed(mus) == pytest.approx(np.linalg.norm(mus))


def test_enough_noise_needs_no_epsilon():
    assert epsilon_at(1e-6, 1e-3) == 0.0
