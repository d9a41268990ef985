"""Shards cover every point once, and their size changes no id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.plan.shards import shards


@given(
    st.dictionaries(st.text(max_size=3), st.integers(0, 300), max_size=30),
    st.integers(1, 100),
    st.integers(0, 1000),
)
def test_shards_cover_every_point_once(new_points, points_per_shard, first):
    groups = shards(new_points, 1, first, points_per_shard)
    total = sum(new_points.values())
    ids, indices = [], {label: [] for label in new_points}
    for group in groups:
        assert 0 < sum(shard.stop - shard.start for shard in group) <= points_per_shard
        for shard in group:
            assert shard.round == 1
            indices[shard.label] += range(shard.start, shard.stop)
            ids += range(shard.first_sample_id, shard.first_sample_id + shard.stop - shard.start)
    assert ids == list(range(first, first + total))
    assert indices == {label: list(range(count)) for label, count in new_points.items()}
    assert len(groups) <= 2 * total / points_per_shard + 1


def test_ids_do_not_hang_on_the_size_of_shards_or_the_order_of_classes():
    def first_ids(new_points, size):
        return {
            shard.label: shard.first_sample_id - shard.start
            for group in shards(new_points, 0, 5, size)
            for shard in group
        }

    assert first_ids({"b": 7, "a": 10}, 3) == first_ids({"a": 10, "b": 7}, 100) == {"a": 5, "b": 15}


def test_five_thousand_tiny_classes_make_few_groups():
    assert len(shards({f"c{number}": 2 for number in range(5000)}, 0, 0, 1000)) == 10


def test_a_shard_has_points():
    with pytest.raises(ValueError, match="points_per_shard"):
        shards({"a": 1}, 0, 0, 0)
