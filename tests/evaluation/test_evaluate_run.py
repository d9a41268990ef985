"""The evaluation of a handmade run: every section is there, and its figures are the run's."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_run import build, corpus_table

from smotext_ray.config import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.evaluation.evaluate import evaluate, write
from smotext_ray.evaluation.material import Material, read_material
from smotext_ray.evaluation.trials import LEFT_OUT, draw, training_sets

WANTED = {"grain": 12, "ship": 8}
D = 6


class WordEncoder:
    """Texts on grain point one way, texts on ship another; each has a little of its own."""

    def encode(self, texts, batch_size=64):
        own = [np.random.default_rng(list(text.encode())).normal(size=D) for text in texts]
        x = 0.3 * np.array(own, np.float32).reshape(len(texts), D)
        x[:, 0] += ["grain" in text for text in texts]
        x[:, 1] += ["ship" in text for text in texts]
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    rejected = {0: "other_class", 1: "too_far"}
    return build(
        tmp_path_factory.mktemp("run"),
        WANTED,
        corpus=corpus_table(grain=30, ship=40),
        rejected=rejected,
    )


@pytest.fixture(scope="module")
def config(run) -> RunConfig:
    return RunConfig.model_validate(run.manifest["config"])


@pytest.fixture(scope="module")
def test_file(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("test") / "test.parquet"
    labels = ["grain", "ship"] * 20
    texts = [f"unseen {i} on {label}" for i, label in enumerate(labels)]
    pq.write_table(pa.table({"text": texts, "label": labels}), file)
    return str(file)


@pytest.fixture(scope="module")
def material(run, config, test_file) -> Material:
    return read_material(run, config, WordEncoder(), test_file, "text", "label")


@pytest.fixture(scope="module")
def report(run, config, material):
    return evaluate(run, config, material, range(2), WordEncoder().encode, log=lambda line: None)


def test_the_new_texts_stand_beside_their_parents_and_points(run, material):
    plan = run.table("plan", "round-1").to_table().to_pylist()
    planned = {row["sample_id"]: row for row in plan}
    accepted = [s for s in material.samples if s["status"] == "accepted"]
    assert len(accepted) == len(material.synthetic) == sum(WANTED.values()) - 2
    for row, sample in enumerate(accepted):
        assert material.synthetic.texts[row] == sample["text"]
        np.testing.assert_allclose(material.points[row], planned[sample["sample_id"]]["point"])
        source, neighbor = (material.real.texts[parent] for parent in material.parents[row])
        assert (source, neighbor) == (sample["source_text"], sample["neighbor_text"])
        assert planned[sample["sample_id"]]["source_text"] == source


def test_a_draw_leaves_out_rows_and_the_texts_made_of_them(material):
    real, synthetic = draw(material, seed=0)
    before, after = Counter(material.real.labels), Counter(real.labels)
    for label, count in before.items():
        assert after[label] == count - round(LEFT_OUT * count)
    kept = set(real.texts)
    for row, text in enumerate(material.synthetic.texts):
        parents = {material.real.texts[parent] for parent in material.parents[row]}
        assert (text in synthetic.texts) == (parents <= kept)
    assert draw(material, seed=0)[0].texts == real.texts
    assert draw(material, seed=1)[0].texts != real.texts


def test_every_arm_adds_as_many_rows_to_each_class(material):
    real, synthetic = draw(material, seed=0)
    arms = {"same": lambda real, targets, seed: (real, targets)}
    (_, targets) = training_sets(real, synthetic, 0, arms)["same"]
    both = Counter(real.labels) + Counter(synthetic.labels)
    assert targets == {label: both[label] for label in set(synthetic.labels)}


def test_new_texts_alone_are_an_arm_only_where_every_class_has_some(material):
    real, synthetic = draw(material, seed=0)
    assert "synthetic_only" in training_sets(real, synthetic, 0, {})
    ship = synthetic.take([i for i, label in enumerate(synthetic.labels) if label == "ship"])
    assert set(training_sets(real, ship, 0, {})) == {"real_and_synthetic"}


def test_the_report_has_every_section(report, material):
    utility = report["utility"]
    arms = {(row["classifier"], row["arm"]) for row in utility["rows"]}
    assert {("embedding", "embedding_smote"), ("tfidf", "class_weights")} <= arms
    assert any(arm.startswith("eda") for _, arm in arms)
    assert ("tfidf", "embedding_smote") not in arms
    best = {
        row["arm"]: row["mean"]
        for row in utility["rows"]
        if (row["classifier"], row["metric"]) == ("tfidf", "accuracy")
    }
    assert best["nothing"] == 1.0  # the class stands in the text
    assert {gain["against"] for gain in utility["gains"]} >= {"nothing", "random_oversampling"}
    assert [len(row["values"]) for row in utility["rows"]] == [2] * len(utility["rows"])
    assert sum(entry["count"] for entry in report["rejections"]) == 2
    assert {c["label"]: c["accepted"] for c in report["classes"]} == Counter(
        material.synthetic.labels
    )
    assert {c["label"]: c["target"] for c in report["classes"]} == {"grain": 42, "ship": 48}
    assert len(report["map"]["points"]) == len(material.real) + len(material.synthetic)
    assert all(sum(s["counts"]) for h in report["histograms"] for s in h["series"])
    names = {row["name"] for row in report["privacy"]["rows"]}
    assert {"verbatim copies", "membership attack by max_cosine, AUC"} <= names
    assert report["fidelity"]["round_trip"]["cosine"]["count"] == len(material.synthetic)


def test_it_is_written_as_json_and_as_a_page(report, tmp_path):
    write(report, tmp_path / "new")
    again = json.loads((tmp_path / "new" / "report.json").read_text())
    assert again["utility"]["test_rows"] == 40
    page = (tmp_path / "new" / "report.html").read_text()
    assert "<html" in page and again["samples"][0]["source_text"] in page


def test_a_run_without_texts_is_refused(tmp_path, test_file, config):
    planned = build(tmp_path, WANTED, until="plan", corpus=corpus_table(30, 40))
    with pytest.raises(UserError, match="no accepted texts yet"):
        read_material(planned, config, WordEncoder(), test_file, "text", "label")


def test_test_texts_of_other_classes_are_refused(run, config, tmp_path):
    file = tmp_path / "test.csv"
    file.write_text("text,label\nunseen,wheat\nunseen too,ship\n")
    with pytest.raises(UserError, match=r"classes that the run's corpus lacks \(wheat\)"):
        read_material(run, config, WordEncoder(), str(file), "text", "label")
