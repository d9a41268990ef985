"""The weights of a variant's source texts: the same for any order and sharding, and followed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from variant_corpora import config_of, on_the_sphere, table_of

from smotext_ray.errors import UserError
from smotext_ray.pipeline.plan_files import weight_shards
from smotext_ray.plan import points as planning
from smotext_ray.plan.classes import read_classes, read_corpus
from smotext_ray.plan.shards import Shard, shards
from smotext_ray.plan.unsharded import unsharded_plan, unsharded_weights
from smotext_ray.plan.variants import MOST_SVM_ROWS, Sources, check_rows, is_in_danger
from smotext_ray.plan.weights import count_sources, source_weights, sources_of, without_sources
from smotext_ray.tables import fixed_size_list


def drawn_corpus(seed, n=60, texts=40, classes=3):
    """Rows with repeated texts, in mixed order; equal texts of a class have equal rows."""
    rng = np.random.default_rng(seed)
    text = rng.integers(texts, size=n)
    label = rng.integers(classes, size=n)
    label[: 2 * classes] = np.repeat(np.arange(classes), 2)
    text[: 2 * classes] = np.arange(2 * classes)
    x = rng.normal(size=(texts, classes, 4)).astype(np.float32)[text, label]
    return pa.table(
        {
            "id": rng.permutation(n),
            "text": [f"text {t}" + " " * int(rng.integers(2)) for t in text],
            "label": label,
            "embedding": fixed_size_list(x),
        }
    )


def shuffled(table, seed):
    return table.take(np.random.default_rng(seed).permutation(len(table)))


@settings(deadline=None, max_examples=20)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 50),
    st.sampled_from(["cosine", "euclidean"]),
    st.sampled_from(["borderline", "adasyn"]),
)
def test_weights_are_the_same_for_any_sharding_and_row_order(seed, each, metric, variant):
    table, points = drawn_corpus(seed), {0: 5, 2: 9}
    config = config_of(variant, metric)
    whole = unsharded_weights(ds.dataset(table), points, config)
    texts = read_corpus(ds.dataset(shuffled(table, seed)), [2, 0, 1])
    counts = Counter(table["label"].to_pylist())
    groups = shards({label: counts[label] for label in points}, 0, 0, each)
    cut = pa.concat_tables([source_weights(texts, group, points, config) for group in groups])
    assert cut.combine_chunks().equals(whole.combine_chunks())


@pytest.mark.parametrize("variant", ["kmeans", "svm"])
def test_a_variant_of_the_whole_does_not_know_the_order_of_rows(variant):
    table, points = drawn_corpus(0, 200, 150), {0: 5, 2: 9}
    whole, mixed = (
        unsharded_weights(ds.dataset(rows), points, config_of(variant))
        for rows in (table, shuffled(table, 1))
    )
    assert whole.equals(mixed) and sum(count_sources(whole).values()) > 5
    counts = Counter(table["label"].to_pylist())
    assert len(weight_shards(config_of(variant), counts, points)) == 1


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["borderline", "adasyn", "kmeans", "svm"]))
def test_a_text_that_stands_there_twice_weighs_no_more(seed, variant):
    table, points = drawn_corpus(seed), {0: 5, 1: 4, 2: 9}
    texts = read_corpus(ds.dataset(table), [0, 1, 2])
    once = table.filter(pa.compute.is_in(table["id"], value_set=texts.ids))
    assert len(once) < len(table)
    repeated, single = (
        unsharded_weights(ds.dataset(rows), points, config_of(variant)) for rows in (table, once)
    )
    assert repeated["id"].equals(single["id"])
    if variant == "kmeans":  # its rows share what a cluster has
        copies = texts.copies
        total = repeated["weight"].to_numpy() * copies
        for label in points:
            here = repeated["label"].to_numpy() == label
            assert total[here].sum() == pytest.approx(single["weight"].to_numpy()[here].sum())
    else:
        assert repeated.equals(single)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["borderline", "adasyn", "kmeans", "svm"]))
def test_a_plan_starts_from_texts_with_a_weight_and_ends_in_its_cluster(seed, variant):
    table, points = drawn_corpus(seed, 120, 90), {0: 40, 1: 30, 2: 20}
    source, config = ds.dataset(table), config_of(variant, neighbors_per_point=1 + seed % 3)
    weights = unsharded_weights(source, points, config)
    kept, _ = without_sources(points, count_sources(weights), config)
    if not kept:
        return
    plan = unsharded_plan(source, kept, 1, 0, config, weights=weights)
    assert Counter(plan["label"].to_pylist()) == kept
    text_of = dict(
        zip(table["id"].to_pylist(), map(str.strip, table["text"].to_pylist()), strict=True)
    )
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    told = {(labels[w["id"]], text_of[w["id"]]): w for w in weights.to_pylist()}
    for row in plan.to_pylist():
        begin = told[row["label"], text_of[row["source_id"]]]
        assert begin["weight"] > 0
        neighbors = [row["neighbor_id"], *(row.get("other_neighbor_ids") or [])]
        assert len({text_of[i] for i in [row["source_id"], *neighbors]}) == len(neighbors) + 1
        assert all(labels[i] == row["label"] for i in neighbors)
        if variant == "kmeans":
            clusters = {told[row["label"], text_of[i]]["cluster"] for i in neighbors}
            assert clusters == {begin["cluster"]}
        reach = begin.get("reach", 1.0)
        assert 0 <= row["lam"] / reach < 1
        for lam in row.get("other_lams") or []:
            assert 0 <= lam / reach <= row["lam"] / reach


def test_sources_follow_their_weights():
    table = drawn_corpus(4, 200, 150)
    source, config = ds.dataset(table), config_of("adasyn")
    weights = unsharded_weights(source, {0: 1}, config)
    plan = unsharded_plan(source, {0: 6000}, 1, 0, config, weights=weights)
    (rows,) = read_classes(source, [0])
    found = sources_of(ds.dataset(weights), rows).weight[rows.text_of_row]
    expected = dict(zip(rows.ids.to_pylist(), found / found.sum() * 6000, strict=True))
    got = Counter(plan["source_id"].to_pylist())
    ids = [i for i, n in expected.items() if n]
    assert set(got) == set(ids) and len(ids) < len(found)
    assert stats.chisquare([got[i] for i in ids], [expected[i] for i in ids]).pvalue > 0.01


def test_a_text_without_weight_is_never_drawn():
    table = drawn_corpus(0, texts=40)
    (rows,) = read_classes(ds.dataset(table), [0])
    weight = np.zeros(rows.distinct)
    weight[[2, 5]] = 0.1, 0.2
    u = np.array([0, 1 - 2.0**-53, 0.3, 0.4])
    drawn = rows.text_of_row[planning._chosen(rows, u, Sources(weight))]
    assert set(drawn) == {2, 5} and drawn[0] in (2, 5)


def far_apart(n=12):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], n)
    return table_of(rng.normal(size=(2 * n, 3)) + 100 * y[:, None], y)


@pytest.mark.parametrize(
    ("variant", "told"),
    [("borderline", "in danger"), ("adasyn", "of another class among the 4 nearest")],
)
def test_a_class_without_a_source_is_skipped_with_a_warning(variant, told):
    config, points = config_of(variant), {"class 0": 3, "class 1": 4}
    weights = unsharded_weights(ds.dataset(far_apart()), points, config)
    kept, warnings = without_sources(points, count_sources(weights), config)
    assert kept == {} and len(warnings) == 2
    assert warnings[0].startswith("Class 'class 0' is skipped: none of its texts")
    assert told in warnings[0]
    with pytest.raises(UserError, match="'class 1' has no text that a point could start from"):
        unsharded_plan(ds.dataset(far_apart()), {"class 1": 4}, 1, 0, config, weights=weights)


def test_a_small_class_has_no_cluster_of_k_neighbors_but_all():
    table = far_apart(3)
    points = {"class 0": 3, "class 1": 4}
    config = config_of("kmeans").model_copy(update={"plan": config_of("kmeans", n_clusters=1).plan})
    weights = unsharded_weights(ds.dataset(table), points, config)
    assert count_sources(weights) == {"class 0": 3, "class 1": 3}
    many = unsharded_weights(ds.dataset(table), points, config_of("kmeans", n_clusters=6))
    assert count_sources(many) == {"class 0": 0, "class 1": 0}


def test_danger_at_its_bounds():
    assert is_in_danger(np.arange(6), 5).tolist() == [False, False, False, True, True, False]


def test_without_texts_each_row_is_one():
    table = table_of(*on_the_sphere())
    points = {"class 3": 9}
    for variant in ("borderline", "adasyn", "kmeans", "svm"):
        with_texts, without = (
            unsharded_weights(ds.dataset(rows), points, config_of(variant))
            for rows in (table, table.drop_columns(["text"]))
        )
        assert with_texts.equals(without)


def test_weights_of_another_corpus_are_refused():
    table, other = drawn_corpus(0), drawn_corpus(1)
    weights = unsharded_weights(ds.dataset(other), {0: 5}, config_of("adasyn"))
    (rows,) = read_classes(ds.dataset(table), [0])
    with pytest.raises(ValueError, match="do not match its texts"):
        sources_of(ds.dataset(weights), rows)
    with pytest.raises(ValueError, match="needs sources"):
        planning.plan_shard(rows, Shard(1, 0, 0, 5, 0), config_of("adasyn"))


def test_too_many_rows_for_a_support_vector_machine():
    check_rows("svm", MOST_SVM_ROWS)
    check_rows("borderline", 10**9)
    with pytest.raises(UserError, match="at most 20000 rows, but the corpus has 20001"):
        check_rows("svm", MOST_SVM_ROWS + 1)
