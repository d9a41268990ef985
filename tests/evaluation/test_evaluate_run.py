"""The evaluation of a handmade run: every section is there, and its figures are the run's."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluated_run import WANTED, WordEncoder, finished_run, held_out_table
from handmade_run import build, corpus_table
from tiny_models import tiny_encoder

from smotext_ray.config.schema import RunConfig
from smotext_ray.evaluation.controls.decode import Control
from smotext_ray.evaluation.evaluate import (
    READ,
    Options,
    _agreement,
    _bert,
    _manifold,
    _some,
    evaluate,
)
from smotext_ray.evaluation.inputs import (
    EvaluationData,
    read_evaluation_data,
    read_held_out,
)
from smotext_ray.evaluation.report.directory import write
from smotext_ray.evaluation.report.sections import of_classes
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility import fine_tuning
from smotext_ray.evaluation.utility.draws import LEFT_OUT, Made, draw
from smotext_ray.evaluation.utility.fine_tuning import FineTuned
from smotext_ray.evaluation.utility.trials import training_sets
from smotext_ray.run.manifest import Manifest


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def config(run) -> RunConfig:
    return Manifest.read(run).config


@pytest.fixture(scope="module")
def test_file(tmp_path_factory) -> str:
    return held_out_table(tmp_path_factory.mktemp("test"))


@pytest.fixture(scope="module")
def material(run, test_file) -> EvaluationData:
    return read_evaluation_data(run, read_held_out(run, test_file), WordEncoder().encode)


@pytest.fixture(scope="module")
def report(run, config, material):
    encode = WordEncoder().encode
    return evaluate(
        run,
        config,
        material,
        range(2),
        encode,
        Options(variants=["adasyn"], test="held-out"),
        log=lambda line: None,
    )


def test_the_new_texts_stand_with_their_parents_and_points(run, material):
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


def test_exactly_the_texts_of_the_result_are_judged(tmp_path, test_file):
    run = build(tmp_path, WANTED, corpus=corpus_table(grain=30, ship=40), rounds=2)
    result = pq.read_table(run.at("augmented.parquet"), filesystem=run.fs)
    delivered = result.filter(result["synthetic"])
    found = read_evaluation_data(run, read_held_out(run, test_file), WordEncoder().encode)
    assert len(found.synthetic) == Manifest.read(run).result.synthetic == sum(WANTED.values())
    assert found.sample_ids == delivered["sample_id"].to_pylist()
    assert found.synthetic.texts == delivered["body"].to_pylist()
    in_result = [s["sample_id"] for s in found.samples if s["delivered"]]
    assert in_result == sorted(found.sample_ids) and len(found.samples) == 2 * len(in_result)


def test_the_test_table_has_the_columns_of_the_runs_input(tmp_path):
    run = build(tmp_path, WANTED)  # made with --text-column body --label-column topic
    test = pa.table({"body": ["a b", "c d"], "topic": ["grain", "ship"], "text": ["x", "y"]})
    pq.write_table(test, tmp_path / "test.parquet")
    found = read_held_out(run, str(tmp_path / "test.parquet"))
    assert (found.texts, found.labels) == (["a b", "c d"], ["grain", "ship"])
    other = read_held_out(run, str(tmp_path / "test.parquet"), text_column="text")
    assert other.texts == ["x", "y"]


def test_a_draw_leaves_out_rows_and_the_texts_made_of_them(material):
    real, synthetic = draw(material, seed=0)
    before, after = Counter(material.real.labels), Counter(real.labels)
    for label, count in before.items():
        assert after[label] == count - round(LEFT_OUT * count)
    kept = set(real.texts)
    for row, text in enumerate(material.synthetic.texts):
        parents = {material.real.texts[parent] for parent in material.parents[row]}
        assert (text in synthetic.rows.texts) == (parents <= kept)
    assert draw(material, seed=0)[0].texts == real.texts
    assert draw(material, seed=1)[0].texts != real.texts


def test_every_arm_adds_as_many_rows_to_each_class(material):
    real, synthetic = draw(material, seed=0)
    arms = {"same": lambda real, targets, seed: targets}
    targets = training_sets(real, synthetic, 0, arms)["same"]
    both = Counter(real.labels) + Counter(synthetic.rows.labels)
    assert targets == {label: both[label] for label in set(synthetic.rows.labels)}


def test_new_texts_alone_are_an_arm_only_where_every_class_has_some(material):
    real, synthetic = draw(material, seed=0)
    assert "synthetic_only" in training_sets(real, synthetic, 0, {})
    some = [i for i, label in enumerate(synthetic.rows.labels) if label == "ship"]
    ship = Made(synthetic.rows.take(some), synthetic.origins[some])
    assert "synthetic_only" not in training_sets(real, ship, 0, {})


def test_the_report_has_every_section(report, material):
    utility = report["utility"]
    arms = {(row["classifier"], row["arm"]) for row in utility["rows"]}
    assert {("embedding", "embedding_smote"), ("tfidf", "class_weights")} <= arms
    assert ("embedding", "embedding_adasyn") in arms and ("tfidf", "embedding_adasyn") not in arms
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
    assert {
        "membership attack on parents, AUC",
        "parents without their own texts, AUC",
    } <= names
    assert report["fidelity"]["round_trip"]["cosine"]["count"] == len(material.synthetic)


def test_the_report_says_what_was_judged_on_what(report, run, material):
    facts = report["run"]
    assert (facts["test"], facts["test_rows"], facts["test_texts_in_corpus"]) == ("held-out", 40, 0)
    assert facts["quick"] and facts["version"] == Manifest.read(run).smotext_ray
    assert facts["synthetic"] == len(material.synthetic) and facts["accepted"] == 18
    assert facts["settings"]["input"]["text_column"] == "body"
    assert [found["classifier"] for found in report["summary"]["verdicts"]] == [
        "embedding",
        "tfidf",
    ]
    assert any("--quick" in words for words in report["summary"]["warnings"])


def test_figures_by_class_are_those_of_the_class(report, material):
    rows = {row["label"]: row for row in report["by_class"]}
    assert {label: row["real"] for label, row in rows.items()} == {"grain": 30, "ship": 40}
    assert {label: row["test"] for label, row in rows.items()} == {"grain": 20, "ship": 20}
    for label, row in rows.items():
        made = [i for i, name in enumerate(material.synthetic.labels) if name == label]
        inside = [i for i, name in enumerate(material.real.labels) if name == label]
        x, y = material.real.embeddings[inside], material.synthetic.embeddings[made]
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        nearest = (y @ x.T).max(1)
        assert row["synthetic"] == len(made)
        assert row["synthetic_to_nearest"] == pytest.approx(np.median(nearest), abs=1e-6)
        assert row["synthetic_words"] == 5 and row["real_words"] == 4
        assert 0 <= row["agreement"] <= 1 and 0 <= row["accuracy"] <= 1


def test_test_texts_that_are_in_the_corpus_are_counted(run, config, material):
    from smotext_ray.evaluation.report.sections import run_facts

    leaked = replace(material.test, texts=material.real.texts[:3] + material.test.texts[3:])
    # The white space around a text makes no other text of it.
    real = replace(material.real, texts=[f" {text}\n" for text in material.real.texts])
    facts = run_facts(run, Manifest.read(run), replace(material, real=real, test=leaked), "t")
    assert facts["test_texts_in_corpus"] == 3


def test_one_synthetic_text_has_no_diversity_and_the_rest_is_measured(run, config, material):
    one = replace(
        material,
        synthetic=material.synthetic.take([0]),
        parents=material.parents[:1],
        points=material.points[:1],
        sample_ids=material.sample_ids[:1],
    )
    found = evaluate(run, config, one, [0], WordEncoder().encode, log=str)
    assert "diversity" not in found["fidelity"] and found["fidelity"]["round_trip"]


def test_labels_of_texts_with_parents_everywhere_are_not_judged(material):
    everywhere = np.tile(np.arange(len(material.real)), (len(material.synthetic), 1))
    assert _agreement(material) is not None
    assert _agreement(replace(material, parents=everywhere)) is None


def test_scores_have_no_interval_beyond_one(report):
    rows = report["utility"]["rows"] + report["utility"]["recall"]
    assert any(row["low"] < row["high"] for row in rows)
    assert all(0 <= row["low"] <= row["mean"] <= row["high"] <= 1 for row in rows)


def test_texts_of_controls_need_not_be_encoded(run, config, material):
    def encode(texts):
        raise AssertionError("no text is to be encoded")

    found = evaluate(
        run,
        config,
        material,
        [0],
        encode,
        Options(encode_controls=False),
        log=lambda line: None,
    )
    arms = {(row["classifier"], row["arm"]) for row in found["utility"]["rows"]}
    assert any(arm.startswith("eda") for name, arm in arms if name == "tfidf")
    assert not any(arm.startswith("eda") for name, arm in arms if name == "embedding")
    assert {("embedding", "embedding_smote"), ("embedding", "real_and_synthetic")} <= arms


def test_it_is_written_as_json_and_as_a_page(report, tmp_path):
    write(report, tmp_path / "new")
    again = json.loads((tmp_path / "new" / "report.json").read_text())
    assert again["utility"]["test_rows"] == 40
    page = (tmp_path / "new" / "report.html").read_text()
    assert "<html" in page and again["samples"][0]["source_text"] in page


def test_what_needs_the_llm_is_in_it_where_it_was_measured(run, config, material):
    read = []

    def token_nll(texts):
        read.append(texts)
        return [(2.0 * len(text.split()), len(text.split())) for text in texts]

    rows = material.synthetic.take(range(10))
    control = Control(rows, material.parents[:10], asked=20, accepted=11, tokens=640)
    (first,) = Manifest.read(run).rounds
    tokens = first.decode.tokens
    report = evaluate(
        run,
        config,
        material,
        range(2),
        WordEncoder().encode,
        Options(decoded={"shuffled": control}, token_nll=token_nll),
        log=lambda line: None,
    )
    assert report["fidelity"]["decoded_texts"] == {
        "interpolated": {"asked": 20, "accepted": 18, "tokens": tokens},
        "shuffled": {"asked": 20, "accepted": 11, "tokens": 640},
    }
    assert read == [material.real.texts, material.synthetic.texts]
    found = report["fidelity"]["perplexity"]["new_texts"]
    assert found["corpus"] == pytest.approx(np.exp(2.0))
    assert found["tokens"] == sum(len(text.split()) for text in material.synthetic.texts)
    assert {"shuffled"} <= {row["arm"] for row in report["utility"]["rows"]}


def test_the_llm_reads_so_many_texts_of_classes_with_new_ones(run, config, material):
    ship = [i for i, label in enumerate(material.synthetic.labels) if label == "ship"]
    many = Rows(
        [f"text {i} on {'ship' if i % 2 else 'grain'}" for i in range(3 * READ)],
        np.zeros((3 * READ, 6), np.float32),
        ["ship" if i % 2 else "grain" for i in range(3 * READ)],
    )
    less = replace(material, real=many, synthetic=material.synthetic.take(ship))
    texts = list(of_classes(less.real, less.synthetic))
    assert len(texts) == 3 * READ // 2 and all(text.endswith("ship") for text in texts)
    some = _some(texts)
    assert len(some) == len(set(some)) == READ and set(some) <= set(texts)
    assert some == _some(texts) != texts[:READ]
    assert _some(texts[:7]) == texts[:7]


def test_density_is_that_of_test_texts_of_the_classes_that_have_some(material):
    found = _manifold(material)
    assert found["overall"]["real"] == len(material.test)
    ship = [row for row, label in enumerate(material.test.labels) if label == "ship"]
    less = _manifold(replace(material, test=material.test.take(ship)))
    assert [row["label"] for row in less["classes"]] == ["ship"]
    other = replace(material.test, labels=["wheat"] * len(material.test))
    assert _manifold(replace(material, test=other))["overall"] is None


def test_bert_is_the_encoder_of_the_run(run, config, material, tmp_path, monkeypatch):
    monkeypatch.setattr(fine_tuning, "SETTINGS", ((2, 1e-4),))
    tiny = str(tiny_encoder(tmp_path))
    encoder = config.encoder.model_copy(update={"model": tiny})
    mine = config.model_copy(update={"encoder": encoder})
    assert _bert(mine) == FineTuned(str(Path(tiny).resolve()))
    report = evaluate(
        run,
        mine,
        replace(material, test=material.test.take(range(4))),
        [0],
        WordEncoder().encode,
        Options(classifiers=["bert"]),
        log=lambda line: None,
    )
    arms = {(row["classifier"], row["arm"]) for row in report["utility"]["rows"]}
    assert ("bert", "real_and_synthetic") in arms and ("bert", "embedding_smote") not in arms
    assert {classifier for classifier, _ in arms} == {"bert"}
