"""The plan meets its counts, follows SMOTE's law, and does not know how it was cut up."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import SMOTE
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from smotext_ray.errors import UserError
from smotext_ray.plan import points as planning
from smotext_ray.plan.classes import read_classes, read_texts
from smotext_ray.plan.draws import draw, draw_others
from smotext_ray.plan.interpolation import interpolate, mix
from smotext_ray.plan.neighbors import other_texts
from smotext_ray.plan.points import PlanSettings
from smotext_ray.plan.shards import Shard, shards
from smotext_ray.tables import matrix, plan_schema

SETTINGS = {
    "seed": 7,
    "k_neighbors": 5,
    "metric": "cosine",
    "unit_norm": True,
}


def class_rows(seed: int, n: int, label: object = "grain", d: int = 12, distinct: int = 0):
    """A class with repeated texts where ``distinct`` is below n; equal texts, equal rows."""
    rng = np.random.default_rng(seed)
    texts = np.arange(n) % (distinct or n)
    embeddings = rng.normal(size=(n, d)).astype(np.float32)[texts]
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return pa.table(
        {
            "id": pa.array([f"{label}-{number:04}" for number in rng.permutation(n)]),
            "text": pa.array([f"{label} {text}" + " " * int(rng.integers(2)) for text in texts]),
            "label": pa.array([label] * n),
            "embedding": pa.FixedSizeListArray.from_arrays(embeddings.ravel(), d),
        }
    )


def plan_class(rows: pa.Table, shard: Shard, **how) -> pa.Table:
    source = ds.dataset(rows)
    (read,) = read_classes(source, [shard.label])
    known = how.pop("known", None)
    table = planning.plan_class(read, shard, PlanSettings(**how), known=known)
    return planning.with_texts(table, lambda rows: read_texts(source, rows))


def plan_of(classes: dict, groups: list[list[Shard]], **changes) -> pa.Table:
    tables = [
        plan_class(classes[shard.label], shard, **{**SETTINGS, **changes})
        for group in groups
        for shard in group
    ]
    return pa.concat_tables(tables).sort_by("sample_id").combine_chunks()


def as_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.sampled_from(["cosine", "euclidean"]),
    st.sampled_from([1, 4]),  # more than the four rows of a class have
    st.booleans(),
)
def test_the_plan_is_the_same_for_any_sharding_and_row_order(
    seed, points_per_shard, metric, neighbors_per_point, unit_norm
):
    classes = {"a": class_rows(seed, 30, "a", distinct=20), "b": class_rows(seed + 1, 4, "b")}
    new_points = {"b": 9, "a": 45}
    how = {"metric": metric, "neighbors_per_point": neighbors_per_point, "unit_norm": unit_norm}
    whole = plan_of(classes, shards(new_points, 2, 100, 1000), **how)
    shuffled = {
        label: rows.take(np.random.default_rng(seed).permutation(rows.num_rows))
        for label, rows in classes.items()
    }
    cut = plan_of(shuffled, shards(new_points, 2, 100, points_per_shard), **how)
    assert as_bytes(cut) == as_bytes(whole)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 8), st.integers(1, 30))
def test_parents(seed, distinct, k, points_per_shard):
    classes = {
        "a": class_rows(seed, 14, "a", distinct=distinct),
        "b": class_rows(seed + 1, 9, "b", distinct=min(distinct, 9)),
    }
    new_points = {"a": 31, "b": 8}
    plan = plan_of(classes, shards(new_points, 0, 0, points_per_shard), seed=seed, k_neighbors=k)
    assert plan["sample_id"].to_pylist() == list(range(39))
    assert plan["label"].to_pylist() == ["a"] * 31 + ["b"] * 8
    text_of = {
        (label, row["id"]): row["text"]
        for label, rows in classes.items()
        for row in rows.select(["id", "text"]).to_pylist()
    }
    for row in plan.to_pylist():
        assert row["source_text"] == text_of[row["label"], row["source_id"]]
        assert row["neighbor_text"] == text_of[row["label"], row["neighbor_id"]]
        assert row["source_text"].strip() != row["neighbor_text"].strip()
        assert 0 <= row["lam"] < 1
        assert 0 <= row["seed"] < 2**31


def test_points_can_be_computed_from_their_rows():
    rows = class_rows(0, 40)
    plan = plan_class(rows, Shard(0, "grain", 0, 200, 0), **SETTINGS)
    vectors = np.array(rows["embedding"].to_pylist(), dtype=np.float32)
    of = dict(zip(rows["id"].to_pylist(), vectors, strict=True))
    again = interpolate(
        np.stack([of[name] for name in plan["source_id"].to_pylist()]),
        np.stack([of[name] for name in plan["neighbor_id"].to_pylist()]),
        plan["lam"].to_numpy(),
        unit_norm=True,
    )
    points = np.array(plan["point"].to_pylist(), dtype=np.float32)
    assert points.tobytes() == again.tobytes()
    assert len(np.unique(points, axis=0)) > 190


def test_neighbors_are_the_k_nearest_and_all_of_them():
    rows = class_rows(0, 25)
    plan = plan_class(rows, Shard(0, "grain", 0, 2000, 0), **SETTINGS)
    vectors = np.array(rows["embedding"].to_pylist())
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    names = np.array(rows["id"].to_pylist())
    nearest = {names[row]: set(names[np.argsort(-cosines[row])[:5]]) for row in range(25)}
    chosen: dict[str, set[str]] = {name: set() for name in names}
    for row in plan.select(["source_id", "neighbor_id"]).to_pylist():
        chosen[row["source_id"]].add(row["neighbor_id"])
    assert chosen == nearest


def test_schema_keeps_the_types_of_the_corpus():
    rows = class_rows(0, 6, label=3, d=5)
    rows = rows.set_column(0, "id", pa.array(np.arange(10, 16)[::-1]))
    rows = rows.set_column(1, "text", rows["text"].cast(pa.large_string()))
    plan = plan_class(rows, Shard(4, 3, 5, 9, 1000), **SETTINGS)
    assert plan.schema == plan_schema(pa.int64(), pa.int64(), 5)
    assert plan["sample_id"].to_pylist() == [1000, 1001, 1002, 1003]
    assert set(plan["round"].to_pylist()) == {4}
    assert plan.schema.field("point").type == pa.list_(pa.float32(), 5)


def test_embedding_column_in_slices_and_lists():
    rows = class_rows(0, 12)
    shard = Shard(0, "grain", 0, 20, 0)
    whole = plan_class(rows, shard, **SETTINGS)
    sliced = pa.concat_tables([rows.slice(0, 5), rows.slice(5)])
    assert as_bytes(plan_class(sliced, shard, **SETTINGS)) == as_bytes(whole)
    lists = rows.set_column(3, "embedding", rows["embedding"].cast(pa.list_(pa.float32())))
    assert as_bytes(plan_class(lists, shard, **SETTINGS)) == as_bytes(whole)


def test_rows_of_other_classes_are_passed_over():
    rows, shard = class_rows(0, 6), Shard(0, "grain", 0, 20, 0)
    mixed = pa.concat_tables([class_rows(0, 2, "ship"), rows.slice(0, 3), class_rows(1, 4, "a")])
    mixed = pa.concat_tables([mixed, rows.slice(3)])
    assert as_bytes(plan_class(mixed, shard, **SETTINGS)) == as_bytes(
        plan_class(rows, shard, **SETTINGS)
    )


def test_wrong_rows_are_refused():
    rows = class_rows(0, 6)
    with pytest.raises(ValueError, match="class 'ship'"):
        plan_class(rows, Shard(0, "ship", 0, 2, 0), **SETTINGS)
    (read,) = read_classes(ds.dataset(rows), ["grain"])
    with pytest.raises(ValueError, match="class 'ship' belong to 'grain'"):
        planning.plan_class(read, Shard(0, "ship", 0, 2, 0), PlanSettings(**SETTINGS))
    with pytest.raises(UserError, match="only one distinct text"):
        plan_class(class_rows(0, 6, distinct=1), Shard(0, "grain", 0, 2, 0), **SETTINGS)


# --- draws ---


def test_sources_neighbors_and_lam_follow_smote():
    # Every row of the class is equally likely, repeated texts included, and each of its k
    # nearest as its neighbor; lam is uniform.
    rows = class_rows(0, 20, distinct=15)
    plan = plan_class(rows, Shard(0, "grain", 0, 8000, 0), **SETTINGS)
    sources = np.unique(plan["source_id"].to_numpy(), return_counts=True)[1]
    assert len(sources) == 20
    assert stats.chisquare(sources).pvalue > 0.01
    assert stats.kstest(plan["lam"].to_numpy(), "uniform").pvalue > 0.01
    of_text = plan.group_by(["source_id", "neighbor_id"]).aggregate([([], "count_all")])
    assert of_text.num_rows == 100
    counts = of_text["count_all"].to_numpy()
    assert stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_points_are_those_of_imbalanced_learn_for_the_same_draws(alpha):
    n, k, points = 60, 4, 200
    rows = class_rows(0, n)
    shard = Shard(1, "grain", 0, points, 0)
    how = {**SETTINGS, "k_neighbors": k, "metric": "euclidean", "unit_norm": False}
    made = plan_class(rows, shard, **how, alpha=alpha)
    ids = rows["id"].to_pylist()
    x = matrix(rows["embedding"])
    # imbalanced-learn's own search and arithmetic.
    near = NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x, return_distance=False)[:, 1:]
    sources = np.array([ids.index(i) for i in made["source_id"].to_pylist()])
    neighbors = np.array([ids.index(i) for i in made["neighbor_id"].to_pylist()])
    columns = np.argmax(near[sources] == neighbors[:, None], axis=1)
    assert (near[sources, columns] == neighbors).all()
    steps = made["lam"].to_numpy()[:, None]
    expected = SMOTE()._generate_samples(x, x, near, sources, columns, steps)
    np.testing.assert_allclose(matrix(made["point"]), expected, atol=1e-6)
    draws = draw(how["seed"], "grain", 1, 0, points)
    assert (columns == np.floor(draws.u_neighbor * k)).all()


# --- several neighbors ---


def test_a_mixed_point_can_be_computed_from_its_row():
    rows = class_rows(0, 40)
    shard = Shard(0, "grain", 0, 300, 0)
    plan = plan_class(rows, shard, **SETTINGS, neighbors_per_point=3)
    assert plan.schema == plan_schema(pa.string(), pa.string(), 12, neighbors_per_point=3)
    of = dict(zip(rows["id"].to_pylist(), matrix(rows["embedding"]), strict=True))
    text = dict(zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True))
    near = {}
    for row in plan_class(rows, Shard(0, "grain", 0, 4000, 0), **SETTINGS).to_pylist():
        near.setdefault(row["source_id"], set()).add(row["neighbor_id"])
    for row, point in zip(plan.to_pylist(), matrix(plan["point"]), strict=True):
        neighbors = [row["neighbor_id"], *row["other_neighbor_ids"]]
        lam = [row["lam"], *row["other_lams"]]
        assert len(set(neighbors)) == 3 and set(neighbors) <= near[row["source_id"]]
        assert lam == sorted(lam, reverse=True) and min(lam) >= 0 and sum(lam) <= 1
        assert row["other_neighbor_texts"] == [text[i] for i in row["other_neighbor_ids"]]
        among = np.stack([of[i] for i in neighbors])[None]
        again = mix(of[row["source_id"]][None], among, np.float32([lam]), unit_norm=True)
        assert again.tobytes() == point.tobytes()


def test_mixed_neighbors_are_equally_likely_and_the_first_is_smotes():
    rows = class_rows(0, 20)
    shard = Shard(0, "grain", 0, 6000, 0)
    plan = plan_class(rows, shard, **SETTINGS, neighbors_per_point=2)
    pairs = [
        frozenset([row["neighbor_id"], *row["other_neighbor_ids"]])
        for row in plan.select(["source_id", "neighbor_id", "other_neighbor_ids"]).to_pylist()
        if row["source_id"] == "grain-0000"
    ]
    counts = np.array([pairs.count(pair) for pair in set(pairs)])
    assert len(counts) == 10  # of 5 neighbors
    assert stats.chisquare(counts).pvalue > 0.01
    alone = plan_class(rows, shard, **SETTINGS)
    one = plan_class(rows, shard, **{**SETTINGS, "k_neighbors": 1}, neighbors_per_point=2)
    assert one["source_id"].equals(alone["source_id"])
    assert one["other_neighbor_ids"].to_pylist() == [[]] * 6000
    np.testing.assert_allclose(one["lam"].to_numpy(), alone["lam"].to_numpy(), atol=1e-6)


@given(st.integers(0, 2**63), st.integers(0, 60), st.integers(0, 60), st.integers(0, 5))
def test_draws_of_further_neighbors_are_cut_as_the_others(seed, start, length, others):
    whole = draw_others(seed, "a", 0, 0, 120, others)
    part = draw_others(seed, "a", 0, start, start + length, others)
    for all_, some in zip(whole, part, strict=True):
        assert some.shape == (length, others)
        assert some.tobytes() == all_[start : start + length].tobytes()


def test_further_draws_are_uniform_and_unrelated_to_the_first():
    draws, (u, lam) = draw(3, "grain", 1, 0, 20_000), draw_others(3, "grain", 1, 0, 20_000, 2)
    columns = np.column_stack([draws.u_source, draws.u_neighbor, draws.lam, u, lam])
    for column in columns.T:
        assert column.min() >= 0 and column.max() < 1
        assert stats.kstest(column, "uniform").pvalue > 0.01
    off_diagonal = np.corrcoef(columns.T)[np.triu_indices(7, 1)]
    assert np.abs(off_diagonal).max() < 4 / np.sqrt(20_000)


def test_shards_that_share_neighbors_look_for_each_once_and_say_the_same(monkeypatch):
    rows, points = class_rows(0, 40, distinct=30), 200
    looked_for: list[int] = []

    def search(queries, *rest):
        looked_for.append(len(queries))
        return other_texts(queries, *rest)

    monkeypatch.setattr(planning, "other_texts", search)
    known = planning.NeighborCache()
    parts = [Shard(1, "grain", start, start + 20, start) for start in range(0, points, 20)]
    shared = pa.concat_tables(plan_class(rows, part, **SETTINGS, known=known) for part in parts)
    drawn = len(set(shared["source_id"].to_pylist()))
    assert sum(looked_for) == drawn
    whole = plan_class(rows, Shard(1, "grain", 0, points, 0), **SETTINGS)
    assert shared.equals(whole)
