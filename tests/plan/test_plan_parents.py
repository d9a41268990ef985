"""The length at a point is mixed as the point is; its case is that of its main parent."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from smotext_ray.plan.parents import lengths_at_points, main_parents


def count(texts):
    return [len(text.split()) for text in texts]


def test_lengths_are_mixed_by_lam():
    plan = pa.table(
        {
            "source_text": ["a b c d", "a", None],
            "neighbor_text": ["a b", "a b c", None],
            "lam": pa.array([0.5, 1.0, 0.3], pa.float32()),
        }
    )
    np.testing.assert_allclose(lengths_at_points(plan, count), [3, 3, 0])


def test_further_neighbors_count_by_their_share():
    plan = pa.table(
        {
            "source_text": ["a b", "a"],
            "neighbor_text": ["a b c d", "a"],
            "lam": pa.array([0.25, 0.5], pa.float32()),
            "other_lams": pa.array([[0.5], []], pa.list_(pa.float32())),
            "other_neighbor_texts": [["a b c d e f"], []],
        }
    )
    np.testing.assert_allclose(lengths_at_points(plan, count), [2 + 0.25 * 2 + 0.5 * 4, 1])


def test_the_main_parent_has_the_largest_share():
    plan = pa.table(
        {
            "source_text": ["a", "a", "a", None],
            "neighbor_text": ["b", "b", "b", None],
            "lam": pa.array([0.4, 0.6, 0.3, 0.9], pa.float32()),
        }
    )
    assert main_parents(plan) == ["a", "b", "a", None]
    lams = pa.array([[], [], [0.5], [0.0]], pa.list_(pa.float32()))
    texts = [[], [], ["c"], [None]]
    several = plan.append_column("other_lams", lams).append_column("other_neighbor_texts", [texts])
    assert main_parents(several) == ["a", "b", "c", None]


def test_a_point_beyond_its_neighbor_looks_like_the_neighbor():
    plan = {"source_text": ["a", "a"], "neighbor_text": ["b", "b"], "lam": [1.5, -0.5]}
    assert main_parents(pa.table(plan)) == ["b", "a"]
