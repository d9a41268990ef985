"""The length at a point is mixed as the point is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from smotext_ray.plan.lengths import lengths_at_points


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
