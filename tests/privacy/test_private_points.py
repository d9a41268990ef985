"""Points follow from the release, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.privacy.directions import Directions
from smotext_ray.privacy.points import LEAST_POINTS, class_means, class_rows, draw_points
from smotext_ray.privacy.release import Release

D, K = 6, 4
VARIANCES = np.array([0.4, 0.3, 0.2, 0.1], np.float32)  # of unit length in all
DIRECTIONS = Directions(np.zeros(D, np.float32), np.eye(D, K, dtype=np.float32), VARIANCES)
PRIVACY = PrivacyConfig(epsilon=8.0, clip_norm=0.5)
MEANS = np.array([[0.6, 0, 0, 0], [0, -0.5, 0.2, 0]])  # in multiples of the clipping norm


def released(counts, noise):
    counts = np.array(counts, float)
    return Release(["grain", "ship"], counts, MEANS * counts[:, None], noise)


def drawn(release, seed=3, **options):
    parts = [[] for _ in release.labels]
    for code, points in draw_points(release, DIRECTIONS, PRIVACY, seed, **options):
        parts[code].append(points)
    return [np.concatenate(part) for part in parts]


def test_without_noise_the_means_are_those_of_the_clipped_records_at_the_public_length():
    np.testing.assert_allclose(
        class_means(released([50, 80], 1e-9), VARIANCES, 0.5), MEANS, atol=1e-6
    )


def test_a_norm_that_clips_nothing_leaves_the_means_as_they_are():
    found = class_means(released([50, 80], 1e-9), VARIANCES, 2.0)
    np.testing.assert_allclose(found, 2.0 * MEANS, atol=1e-6)


def test_means_are_drawn_to_the_public_one_where_the_noise_is_large():
    little, much = (class_means(released([50, 80], n), VARIANCES, 0.5) for n in (1.0, 100.0))
    assert (np.abs(much) <= np.abs(little)).all() and np.abs(much).max() < 0.15


def test_estimates_are_nearer_to_the_truth_than_noised_means():
    random, noise, count = np.random.default_rng(0), 8.0, 20
    raw, shrunk = 0.0, 0.0
    for _ in range(200):
        truth = random.normal(size=(2, K)) * np.sqrt(VARIANCES)
        sums = truth * count + random.normal(size=(2, K)) * noise
        release = Release(["a", "b"], np.array([count, count], float), sums, noise)
        raw += np.square(sums / count - truth).sum()
        shrunk += np.square(class_means(release, VARIANCES, 0.5) - truth).sum()
    assert shrunk < 0.8 * raw


def test_a_class_has_as_many_points_as_its_noised_count_and_no_fewer_than_the_least():
    assert class_rows(released([50.4, -7.0], 1.0)) == [50, LEAST_POINTS]


def test_points_lie_around_the_mean_as_public_texts_do():
    (grain, _) = drawn(released([20_000, 20], 1e-9), normalize=False)
    np.testing.assert_allclose(grain.mean(0)[:K], MEANS[0], atol=0.02)
    expected = PRIVACY.spread**2 * VARIANCES
    np.testing.assert_allclose(grain.var(0)[:K], expected, rtol=0.1)


def test_the_same_release_and_seed_give_the_same_points_in_any_blocks():
    release = released([50, 30], 2.0)
    whole, cut = drawn(release, normalize=True), drawn(release, normalize=True, most=7)
    for left, right in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.allclose(whole[0], drawn(release, seed=4, normalize=True)[0])


def test_points_are_as_long_as_embeddings():
    for points in drawn(released([50, 30], 2.0), normalize=True):
        assert np.linalg.norm(points, axis=1) == pytest.approx(1.0, abs=1e-6)
