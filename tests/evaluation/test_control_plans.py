"""The plans of the controls: one thing is changed, and everything else is the run's."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from fake_stages import DIM
from handmade_run import build
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.evaluation.controls import plans
from smotext_ray.evaluation.controls.plans import OF_THE_VECTOR, derangement, write_plan
from smotext_ray.evaluation.inputs import parent_rows
from smotext_ray.run.manifest import Manifest
from smotext_ray.tables import OTHERS, matrix

WANTED = {"grain": 7, "ship": 4}
KEPT = ["sample_id", "label", "seed", "round"]
SEED = 3


@pytest.fixture
def run(tmp_path):
    return build(tmp_path, WANTED, rounds=2)


def plan_files(run):
    return [file for entry in Manifest.read(run).rounds for file in entry.plan_files]


def rows(run, *parts):
    return run.table(*parts).to_table().sort_by("sample_id").combine_chunks()


def planned(run, name):
    """The run's plan and the control's, row by row."""
    write_plan(run, name, plan_files(run), SEED)
    before, after = rows(run, "plan"), rows(run, "controls", name, "plan")
    assert after.schema == before.schema
    assert after.select(KEPT).equals(before.select(KEPT))
    return before, after


@given(n=st.integers(2, 300), seed=st.integers(0, 2**31))
def test_a_derangement_moves_everything_and_loses_nothing(n, seed):
    giver = derangement(n, seed)
    assert sorted(giver) == list(range(n))
    assert (giver != np.arange(n)).all()
    np.testing.assert_array_equal(giver, derangement(n, seed))


def test_a_derangement_is_drawn():
    assert len({tuple(derangement(20, seed)) for seed in range(20)}) == 20


def test_shuffled_moves_every_vector_with_its_parents(run):
    before, after = planned(run, "shuffled")
    x, y = matrix(before["point"]), matrix(after["point"])
    assert (x != y).any(axis=1).all()
    giver = [int(np.flatnonzero((x == point).all(axis=1))[0]) for point in y]
    assert sorted(giver) == list(range(len(x)))
    given = before.take(giver)
    for column in OF_THE_VECTOR:
        assert after[column].to_pylist() == given[column].to_pylist()
    # Over classes and rounds, too.
    for column in ("label", "round"):
        assert before[column].to_pylist() != given[column].to_pylist()


def test_shuffling_does_not_hang_on_how_the_plan_is_cut(run):
    _, whole = planned(run, "shuffled")
    run.clear("controls")
    backwards = list(reversed(plan_files(run)))
    write_plan(run, "shuffled", backwards, SEED)
    assert rows(run, "controls", "shuffled", "plan").equals(whole)


def test_lam_0_is_the_sources_own_embedding(run):
    before, after = planned(run, "lam_0")
    corpus = run.table("embeddings").to_table()
    own = dict(zip(corpus["id"].to_pylist(), matrix(corpus["embedding"]), strict=True))
    for source, point in zip(after["source_id"].to_pylist(), matrix(after["point"]), strict=True):
        np.testing.assert_array_equal(point, own[source])
    assert set(after["lam"].to_pylist()) == {0.0}
    same = ["source_id", "neighbor_id", "source_text", "neighbor_text"]
    assert after.select(same).equals(before.select(same))


def test_label_only_has_no_vector_and_no_parents(run):
    _, after = planned(run, "label_only")
    np.testing.assert_array_equal(matrix(after["point"]), np.zeros((len(after), DIM)))
    absent = set(OF_THE_VECTOR) - {"point"}
    assert {value for name in absent for value in after[name].to_pylist()} == {None}


def test_a_file_a_plan_file_and_what_is_there_stays(run, monkeypatch):
    files = plan_files(run)
    assert len(files) > 2
    write_plan(run, "lam_0", files, SEED)
    written = run.table("controls", "lam_0", "plan").files
    names = sorted(path.rsplit("/", 1)[1] for path in written)
    assert names == sorted(file.replace("/", "-") for file in files)
    read: list[str] = []
    monkeypatch.setattr(plans, "_read", lambda run, file: read.append(file))
    write_plan(run, "lam_0", files, SEED)
    assert read == []


def test_text_ids_are_taken_too():
    plan = pa.table({"source_id": ["b", "a"], "lam": pa.array([0.5, 0.1], pa.float32()),
                     "point": pa.array([[9.0], [9.0]], pa.list_(pa.float32(), 1))})  # fmt: skip
    made = plans.at_sources(
        plan,
        pa.chunked_array([["a"], ["b", "c"]]),
        pa.chunked_array([pa.array([[1.0], [2.0], [3.0]], pa.list_(pa.float32(), 1))]),
    )
    assert made["point"].to_pylist() == [[2.0], [1.0]]


def test_a_mixture_goes_with_its_vector(tmp_path):
    run = build(tmp_path, WANTED, plan={"neighbors_per_point": 3})
    before, shuffled = planned(run, "shuffled")
    of = {tuple(point): row for point, row in zip(matrix(before["point"]).tolist(),
          before.select(OTHERS).to_pylist(), strict=True)}  # fmt: skip
    points = matrix(shuffled["point"]).tolist()
    assert [of[tuple(point)] for point in points] == shuffled.select(OTHERS).to_pylist()
    assert shuffled.select(OTHERS) != before.select(OTHERS)
    _, sources = planned(run, "lam_0")
    assert sources["other_lams"].to_pylist() == [[0.0, 0.0]] * len(before)
    assert sources["other_neighbor_ids"].equals(before["other_neighbor_ids"])
    _, label_only = planned(run, "label_only")
    assert label_only["other_neighbor_texts"].null_count == len(before)


def test_parents_of_a_mixture_are_all_its_rows():
    samples = pa.table(
        {"source_id": ["b", "a"], "neighbor_id": ["a", "c"], "other_neighbor_ids": [["c"], []]}
    )
    rows = {"a": 0, "b": 1, "c": 2}
    assert parent_rows(samples, rows).tolist() == [[1, 0, 2], [0, 2, 0]]
    alone = samples.drop_columns(["other_neighbor_ids"])
    assert parent_rows(alone, rows).tolist() == [[1, 0], [0, 2]]


def test_the_class_mean_has_one_point_per_class(run):
    before, after = planned(run, "class_mean")
    labels = np.array(before["label"].to_pylist())
    x, y = matrix(before["point"]), matrix(after["point"])
    for label in WANTED:
        rows = labels == label
        assert len(np.unique(y[rows], axis=0)) == 1
        mean = x[rows].mean(axis=0)
        cosine = y[rows][0] @ mean / np.linalg.norm(y[rows][0]) / np.linalg.norm(mean)
        assert cosine == pytest.approx(1, abs=1e-5)
    # As long as the points are: only their direction is the mean's.
    lengths = [np.linalg.norm(z, axis=1).mean() for z in (x, y)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-5)
