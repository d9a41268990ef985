"""Rows with several labels: measures of MLSMOTE's paper, targets, and the labels of new rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.errors import UserError
from smotext_ray.plan.classes import read_classes
from smotext_ray.plan.multilabel import (
    imbalance_ratios,
    label_sets,
    label_targets,
    lacking_labels,
    mean_imbalance_ratio,
    minority_labels,
    shares,
)
from smotext_ray.plan.points import PlanSettings, plan_class
from smotext_ray.plan.shards import Shard
from smotext_ray.tables import fixed_size_list, matrix

LABELS = "abcdef"
some_counts = st.dictionaries(st.sampled_from(LABELS), st.integers(1, 500), min_size=2)
RULES = ("ranking", "union", "intersection")


def test_the_measures_of_a_case_by_hand():
    """Rows {a, b}, {a}, {a, c}, {a, b}, {}, {a}: IRLbl is 5/5, 5/2 and 5/1, their mean 17/6."""
    counts = {"a": 5, "b": 2, "c": 1}
    assert imbalance_ratios(counts) == {"a": 1, "b": 2.5, "c": 5}
    assert mean_imbalance_ratio(counts) == pytest.approx(17 / 6)
    assert minority_labels(counts) == ["c"]
    # 5 / 2 is below 17 / 6, and so are b's.
    assert label_targets(counts, "auto") == {"c": 1}


@given(some_counts)
def test_auto_raises_to_the_mean_ratio_and_no_further(counts):
    mean, most = mean_imbalance_ratio(counts), max(counts.values())
    new = label_targets(counts, "auto")
    for label, number in counts.items():
        final = number + new.get(label, 0)
        if most / number > mean * (1 + 1e-6):
            assert most / final <= mean * (1 + 1e-6)
            assert final == number + 1 or most / (final - 1) > mean * (1 - 1e-6)
        else:
            assert label not in new or most / number > mean
    assert list(new) == sorted(new, key=lambda label: (counts[label], label))


@pytest.mark.parametrize("strategy", ["minority", "all", "not majority", 0.5])
def test_strategies_of_classes_are_refused(strategy):
    with pytest.raises(UserError, match="use auto, or a JSON object of label to final count"):
        label_targets({"a": 5, "b": 2}, strategy)


def test_targets_by_label():
    counts = {"a": 5, "b": 2, 3: 1}
    assert label_targets(counts, {"3": 4, "b": 2}) == {3: 3}
    with pytest.raises(UserError, match="unknown class 'z'"):
        label_targets(counts, {"z": 4})
    with pytest.raises(UserError, match="already has 5"):
        label_targets(counts, {"a": 4})
    assert label_targets(counts, {"a": 4}, allow_reached=True) == {}


@given(
    st.dictionaries(st.sampled_from(LABELS), st.integers(1, 200), min_size=1),
    st.dictionaries(
        st.sampled_from(LABELS), st.dictionaries(st.sampled_from(LABELS), st.floats(0, 1))
    ),
)
def test_each_label_gets_what_is_missing_counting_all_texts_with_it(missing, together):
    """By the expected shares, no label lacks a text, and none gets one that it does not need."""
    points = lacking_labels(missing, {}, {}, 1.0, together)
    for label, number in missing.items():
        before = list(missing)[: list(missing).index(label)]
        come = sum(
            int(np.floor(round(points.get(other, 0) * together.get(other, {}).get(label, 0), 6)))
            for other in before
        )
        assert points.get(label, 0) == max(0, number - come)


def test_a_later_round_heeds_what_became_of_the_points_of_each_label():
    points = lacking_labels({"a": 10}, {"a": 40}, {"a": 20}, 1.0, {})
    assert points["a"] >= 20  # half of its texts pass


def expected_labels(sets, rule):
    """The definition, one row at a time."""
    counts = {label: sum(label in each for each in sets) for each in sets for label in each}
    if rule == "union":
        return sorted(counts)
    if rule == "intersection":
        return sorted(label for label, number in counts.items() if number == len(sets))
    return sorted(label for label, number in counts.items() if 2 * number >= len(sets))


@given(st.data())
def test_label_sets_follow_their_definitions(data):
    sets = data.draw(
        st.lists(st.lists(st.sampled_from(LABELS), unique=True), min_size=1, max_size=12)
    )
    points, k = data.draw(st.integers(0, 5)), data.draw(st.integers(1, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    sources, near = rng.integers(0, len(sets), points), rng.integers(0, len(sets), (points, k))
    rule = data.draw(st.sampled_from(RULES))
    column = pa.array(sets, pa.list_(pa.string()))
    # As one chunk of a longer column has it.
    column = pa.concat_arrays([column, column]).slice(len(sets))
    found = label_sets(column, sources, near, rule)
    assert found.to_pylist() == [
        expected_labels([sets[source], *(sets[i] for i in row)], rule)
        for source, row in zip(sources, near, strict=True)
    ]


def test_shares_are_of_the_points_that_a_label_got():
    labels = pa.array(["a", "a", "b"])
    sets = pa.array([["a", "b"], ["a"], ["a", "b"]])
    assert shares(labels, sets) == {"a": {"b": 0.5}, "b": {"a": 1.0}}


def tagged(rows=80, seed=0):
    """Embedded rows with up to three labels, in files of another order than their ids."""
    rng = np.random.default_rng(seed)
    sets = [sorted(rng.choice(list("abc"), rng.integers(0, 4), False)) for _ in range(rows)]
    x = rng.normal(size=(rows, 8)).astype(np.float32)
    return pa.table(
        {
            "id": rng.permutation(rows),
            "text": [f"text {i}" for i in range(rows)],
            "label": pa.array(sets, pa.list_(pa.string())),
            "embedding": fixed_size_list(x),
        }
    )


SETTINGS = PlanSettings(seed=1, k_neighbors=5, metric="cosine", unit_norm=True)


@pytest.mark.parametrize("rule", RULES)
def test_points_of_a_label_are_those_of_its_rows_as_a_class(rule):
    """All but their labels: seeds, neighbors, draws and points, byte for byte."""
    table = tagged()
    has_b = pa.array(["b" in labels for labels in table["label"].to_pylist()])
    alone = table.filter(has_b)
    alone = alone.set_column(2, "label", pa.array(["b"] * len(alone)))
    settings = PlanSettings(**{**vars(SETTINGS), "label_sets": rule})
    (rows,) = read_classes(ds.dataset(table), ["b"])
    (as_class,) = read_classes(ds.dataset(alone), ["b"])
    shard = Shard(1, "b", 0, 40, 7)
    found, expected = plan_class(rows, shard, settings), plan_class(as_class, shard, settings)
    for name in expected.column_names:
        if name not in ("source_row", "neighbor_row"):  # row numbers in another table
            assert found[name].equals(expected[name]), name
    assert all("b" in labels for labels in found["labels"].to_pylist())


def test_any_order_of_the_rows_and_any_shards_give_the_same_labels():
    table = tagged()
    shuffled = table.take(np.random.default_rng(3).permutation(len(table)))
    whole = [plan(table, 0, 30), plan(shuffled, 0, 30)]
    parts = pa.concat_tables([plan(shuffled, 0, 11), plan(table, 11, 30)])
    for other in (whole[1], parts):
        assert other["labels"].to_pylist() == whole[0]["labels"].to_pylist()
        assert other["source_id"].to_pylist() == whole[0]["source_id"].to_pylist()


def plan(table, start, stop):
    classes = read_classes(ds.dataset(table), ["a", "b"])
    return plan_class(classes[1], Shard(1, "b", start, stop, 0), SETTINGS)


@pytest.mark.parametrize("rule", RULES)
def test_labels_are_those_of_the_source_and_its_nearest_rows_with_the_label(rule):
    """Against a search of all pairs; the source counts, and so do neighbors not drawn."""
    table = tagged()
    settings = PlanSettings(**{**vars(SETTINGS), "k_neighbors": 4, "label_sets": rule})
    (rows,) = read_classes(ds.dataset(table), ["c"])
    found = plan_class(rows, Shard(1, "c", 0, 50, 0), settings).to_pylist()
    has_c = [i for i, labels in enumerate(table["label"].to_pylist()) if "c" in labels]
    x = matrix(table["embedding"]).astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    ids, sets = table["id"].to_pylist(), table["label"].to_pylist()
    for row in found:
        source = ids.index(row["source_id"])
        others = sorted((i for i in has_c if i != source), key=lambda i: -x[i] @ x[source])[:4]
        assert row["neighbor_id"] in [ids[i] for i in others]
        assert row["labels"] == expected_labels([sets[source], *(sets[i] for i in others)], rule)
