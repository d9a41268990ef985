"""The noise, the classes that are released, and the file that holds them."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from scipy.stats import norm

from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.errors import UserError
from smotext_ray.privacy.gaussian import delta_at
from smotext_ray.privacy.release import (
    Release,
    add_noise,
    least_count,
    noise_scale,
    release,
)
from smotext_ray.privacy.sums import SENSITIVITY, UNITS, ClassSums

CLASSES = ("grain", "ship")
PUBLIC = PrivacyConfig(epsilon=2.0, classes=CLASSES)
PRIVATE = PrivacyConfig(epsilon=2.0)


def sums(*counts, width=3):
    return ClassSums(np.array(counts) * UNITS, np.zeros((len(counts), width), np.int64))


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 8.0, 20.0])
@pytest.mark.parametrize("neighbors", ["add_or_remove", "replace"])
@pytest.mark.parametrize("classes", [None, CLASSES])
def test_the_scale_keeps_the_promise_and_spends_no_more(epsilon, neighbors, classes):
    privacy = PrivacyConfig(epsilon=epsilon, delta=1e-6, neighbors=neighbors, classes=classes)
    mu = SENSITIVITY[neighbors] / noise_scale(privacy)
    share = 1.0 if classes else 0.5
    assert delta_at(mu, epsilon) <= share * 1e-6
    assert delta_at(mu * 1.001, epsilon) > share * 1e-6


def test_noise_is_gaussian_and_independent():
    numbers = np.repeat([[0, 10, -3, 1]], 2000, axis=0)
    noise = (add_noise(numbers, 5000.0) - numbers) / 5000
    assert noise.mean(0) == pytest.approx(0, abs=5 / 2000**0.5)
    np.testing.assert_allclose(np.cov(noise.T), np.eye(4), atol=0.16)
    assert (np.abs(noise) < 1).mean() == pytest.approx(norm.cdf(1) - norm.cdf(-1), abs=0.02)


def test_nobody_can_draw_the_noise_again():
    numbers, drawn = np.zeros((2, 8), np.int64), []
    for _ in range(2):
        np.random.seed(0)
        drawn.append(add_noise(numbers, 1e6))
    assert len(np.unique(np.concatenate(drawn))) == 32


def test_counts_and_sums_get_noise_of_the_same_scale():
    drawn = release(sums(*[50] * 600), list(range(600)), PUBLIC)
    scale = noise_scale(PUBLIC)
    assert (drawn.counts - 50).std() == pytest.approx(scale, rel=0.1)
    assert drawn.sums.std() == pytest.approx(scale, rel=0.06)


def test_a_class_of_one_record_shows_its_name_with_a_quarter_of_delta():
    privacy = PRIVATE.model_copy(update={"delta": 0.08})  # large enough to be counted
    drawn = release(sums(*[1] * 4000), list(range(4000)), privacy)
    assert len(drawn.labels) / 4000 == pytest.approx(0.02, abs=0.009)


def test_large_classes_are_released_and_declared_ones_always():
    assert release(sums(500, 0), CLASSES, PRIVATE).labels == ["grain"]
    assert release(sums(500, 0), CLASSES, PUBLIC).labels == ["grain", "ship"]
    assert least_count(PUBLIC) == -math.inf and 1 < least_count(PRIVATE) < 20


def test_a_file_holds_it_to_the_last_digit():
    drawn = release(sums(40, 30), CLASSES, PUBLIC)
    again = Release.from_json(drawn.to_json())
    assert again.labels == drawn.labels and again.noise == drawn.noise
    np.testing.assert_array_equal(again.counts, drawn.counts)
    np.testing.assert_array_equal(again.sums, drawn.sums)


def test_without_the_library_the_user_learns_its_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "opendp.prelude", None)
    with pytest.raises(UserError, match=r"pip install 'smotext-ray\[privacy\]'"):
        add_noise(np.zeros(1, np.int64), 1.0)
