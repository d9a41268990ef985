"""Round trip, density and coverage: by hand, against the paper's formulas and its code."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.evaluation.fidelity import coverage
from smotext_ray.evaluation.fidelity.coverage import density_coverage, manifold, round_trip


def cloud(n, d=8, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, size=(n, d))


def test_cosines_are_to_the_own_point():
    texts = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    points = np.array([[1.0, 0.0], [0.0, -3.0], [1.0, 1.0]])
    found = round_trip(texts, points)
    own = [1.0, -1.0, 0.5**0.5]
    assert found.cosine.mean == pytest.approx(np.mean(own))
    assert (found.cosine.min, found.cosine.max) == pytest.approx((-1.0, 1.0))


@given(st.integers(2, 12), st.integers(0, 99))
def test_cosines_to_other_points_are_those_of_all_other_pairs(n, seed):
    texts, points = cloud(n, seed=seed), cloud(n, seed=seed + 1)
    cosines = (texts / np.linalg.norm(texts, axis=1)[:, None]) @ (
        points / np.linalg.norm(points, axis=1)[:, None]
    ).T
    others = cosines[~np.eye(n, dtype=bool)]
    assert round_trip(texts, points).to_other_points == pytest.approx(others.mean())


def test_texts_that_hit_their_points_stand_out_from_those_that_do_not():
    points = cloud(200, d=32)
    hit = round_trip(points + 0.1 * cloud(200, d=32, seed=1), points)
    missed = round_trip(np.roll(points, 1, axis=0), points)
    assert hit.cosine.mean > 0.99 > 0.1 > hit.to_other_points
    assert missed.cosine.mean == pytest.approx(missed.to_other_points, abs=0.05)


def test_one_text_has_no_other_point_and_zeros_no_direction():
    found = round_trip(np.zeros((1, 3)), np.ones((1, 3)))
    assert found.as_json()["to_other_points"] is None
    assert found.cosine.mean == 0.0


@pytest.mark.parametrize(
    ("texts", "points"),
    [
        (np.ones((2, 3)), np.ones((3, 3))),
        (np.ones((2, 3)), np.ones((2, 4))),
        (np.ones((0, 3)), np.ones((0, 3))),
        (np.ones(3), np.ones(3)),
        (np.full((1, 2), np.nan), np.ones((1, 2))),
    ],
)
def test_what_are_no_pairs_is_refused(texts, points):
    with pytest.raises(ValueError):
        round_trip(texts, points)


def by_the_paper(real, synthetic, k):
    """Naeem et al. 2020, equations 4 and 5, one pair at a time."""
    pairs = [
        (np.linalg.norm(x - y) < sorted(np.linalg.norm(real - x, axis=1))[k], i, j)
        for i, x in enumerate(real)
        for j, y in enumerate(synthetic)
    ]
    density = sum(inside for inside, _, _ in pairs) / (k * len(synthetic))
    return density, len({i for inside, i, _ in pairs if inside}) / len(real)


@given(st.integers(2, 12), st.integers(1, 12), st.integers(1, 6), st.integers(0, 99))
def test_density_and_coverage_are_those_of_the_paper(n, m, k, seed):
    real, synthetic = cloud(n, 3, seed), cloud(m, 3, seed + 1, shift=0.3)
    found = manifold(real, synthetic, k)
    assert found.k == min(k, n - 1)
    assert (found.density, found.coverage) == pytest.approx(by_the_paper(real, synthetic, found.k))


def test_density_and_coverage_are_those_of_the_authors_code(capsys):
    from prdc import compute_prdc

    real, synthetic = cloud(300, 16), cloud(120, 16, seed=1, shift=0.1)
    expected = compute_prdc(real, synthetic, nearest_k=5)
    found = manifold(real, synthetic)
    assert found.density == pytest.approx(expected["density"])
    assert found.coverage == pytest.approx(expected["coverage"])


def test_the_block_size_has_no_influence(monkeypatch):
    real, synthetic = cloud(50), cloud(20, seed=1)
    whole = manifold(real, synthetic)
    monkeypatch.setattr(coverage, "BLOCK", 7)
    assert manifold(real, synthetic) == whole


@given(st.randoms(), st.integers(0, 99))
def test_the_order_of_the_texts_has_no_influence(random, seed):
    real, synthetic = cloud(15, 3, seed), cloud(9, 3, seed + 1)
    order, other = random.sample(range(15), 15), random.sample(range(9), 9)
    assert manifold(real[order], synthetic[other]) == manifold(real, synthetic)


def test_texts_of_one_distribution_reach_what_is_expected():
    found = [manifold(cloud(60, 4, s), cloud(30, 4, s + 1000)) for s in range(60)]
    expected = found[0].expected_coverage
    assert 0.5 < expected < 0.95  # few synthetic texts: not 1
    assert np.mean([f.coverage for f in found]) == pytest.approx(expected, abs=0.02)
    assert np.mean([f.density for f in found]) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("n", "m", "k", "expected"), [(2, 1, 1, 1 / 2), (2, 3, 1, 3 / 4), (3, 2, 2, 5 / 6)]
)
def test_what_coverage_to_expect_is_the_chance_of_a_synthetic_neighbor(n, m, k, expected):
    assert manifold(cloud(n), cloud(m, seed=1), k).expected_coverage == pytest.approx(expected)


def test_texts_far_away_are_in_no_ball_and_copies_in_all():
    real = cloud(40)
    far, copied = manifold(real, real + 100.0), manifold(real, real)
    assert (far.density, far.coverage) == (0.0, 0.0)
    assert (copied.density, copied.coverage) == pytest.approx((1.0, 1.0))


def test_one_spot_repeated_is_dense_but_covers_little():
    real = cloud(100, 4)
    spot = np.repeat(real.mean(0, keepdims=True), 50, axis=0)
    found = manifold(real, spot)
    assert found.density > 1.0
    assert found.coverage < 0.5


def test_copies_of_a_text_that_stands_there_many_times_cover_it():
    real = np.repeat(cloud(5), 8, axis=0).astype(np.float32)  # balls of no width
    copied = manifold(real, real[::8] + np.float32(1e-7), k=5)
    assert copied.coverage == 1.0
    assert manifold(real, real[::8] + np.float32(0.1), k=5).coverage == 0.0


def test_classes_are_measured_on_their_own_and_together():
    real = np.concatenate([cloud(20), cloud(10, seed=1, shift=9.0), cloud(30, seed=2, shift=-9.0)])
    labels = ["b"] * 20 + ["a"] * 10 + ["none made"] * 30
    synthetic = np.concatenate([cloud(6, seed=3), cloud(4, seed=4, shift=9.0)])
    made = ["b"] * 6 + ["a"] * 4
    found = density_coverage(real, labels, synthetic, made, k=5)
    assert found.classes == {
        "a": manifold(real[20:30], synthetic[6:]),
        "b": manifold(real[:20], synthetic[:6]),
    }
    assert found.overall == manifold(real[:30], synthetic)
    assert found.left_out == ()


def test_a_small_class_takes_the_neighbors_it_has_and_one_text_is_left_out():
    real = np.concatenate([cloud(3), cloud(1, seed=1)])
    found = density_coverage(real, [7, 7, 7, 8], cloud(4, seed=2), [7, 7, 8, 8])
    assert found.classes[7].k == 2
    assert found.left_out == (8,)
    assert found.overall == found.classes[7]
    table = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert table["left_out"] == [8]
    assert [row["label"] for row in table["classes"]] == [7]


def test_where_no_class_is_large_enough_there_is_no_overall_figure():
    found = density_coverage(cloud(2), ["a", "b"], cloud(1), ["a"])
    assert found.overall is None
    assert found.as_json() == {"overall": None, "classes": [], "left_out": ["a"]}


@pytest.mark.parametrize(
    "arguments",
    [
        (cloud(2), ["a", "a"], cloud(1), ["b"]),
        (cloud(2), ["a"], cloud(1), ["a"]),
        (cloud(2), ["a", "a"], cloud(1, d=3), ["a"]),
        (cloud(2), ["a", "a"], cloud(1), ["a"], 0),
    ],
)
def test_impossible_input_is_refused(arguments):
    with pytest.raises(ValueError):
        density_coverage(*arguments)
