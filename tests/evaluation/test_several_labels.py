"""``smotext evaluate`` of runs over rows with several labels."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_run import HERE, fake_config, fakes_told
from fake_stages import Decode, Encoder
from tagged_corpus import COUNTS, tagged_table, write_tagged

from smotext_ray.cli import evaluation as cli_evaluation
from smotext_ray.cli.main import main
from smotext_ray.errors import UserError
from smotext_ray.evaluation.controls import decode
from smotext_ray.evaluation.multilabel.arms import CLASSIFIERS, Arm, copies, scores_of
from smotext_ray.evaluation.multilabel.data import (
    LabeledRows,
    drawn,
    indicator,
    read_run,
    read_test,
)
from smotext_ray.evaluation.multilabel.evaluate import evaluate
from smotext_ray.evaluation.multilabel.label_only import label_only
from smotext_ray.evaluation.multilabel.page import page
from smotext_ray.evaluation.multilabel.scores import measure
from smotext_ray.pipeline import rounds
from smotext_ray.run.manifest import Manifest

ASKED = {"grain": 30, "wheat": 30}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, and a table of test texts."""
    home = tmp_path_factory.mktemp("labels")
    with fakes_told(home / "stage"):
        config = fake_config(
            write_tagged(home / "corpus.parquet"), plan={"sampling_strategy": ASKED}
        )
        run = rounds.augment(config, str(home / "run"), **HERE)
        test = tagged_table(90).slice(60)
        pq.write_table(test, home / "test.parquet")
        yield run, str(home / "test.parquet")


def test_scores_of_a_case_by_hand():
    """Two labels; the second text has both, and is given the first alone."""
    truth = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
    scores = np.array([[2.0, 1.0], [1.0, -1.0], [-1.0, -2.0], [-3.0, 4.0]])
    got = measure(truth, scores, ["a", "b"], seed=3)
    assert got.recall == {"a": 1.0, "b": 0.5}
    assert got.micro_f1 == pytest.approx(2 * 3 / (4 + 4))
    assert got.macro_f1 == pytest.approx((1.0 + 2 * 1 / (2 + 2)) / 2)
    assert got.ranking_precision == 1.0  # no wrong label is ranked above a right one
    worse = measure(truth, np.where(truth, -1.0, 1.0), ["a", "b"], seed=3)
    assert worse.ranking_precision == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    assert worse.micro_f1 == 0.0


def test_labels_that_no_test_text_has_do_not_count():
    truth = np.array([[1, 0], [1, 0]], bool)
    got = measure(truth, np.array([[1.0, 1.0], [1.0, 1.0]]), ["a", "b"], seed=0)
    assert got.macro_f1 == 1.0 and list(got.recall) == ["a"]


def rows(sets, seed=0):
    labels = ["a", "b", "c"]
    matrix = indicator(pa.array(sets, pa.list_(pa.string())), labels)
    x = matrix @ np.eye(3, 5) + np.random.default_rng(seed).normal(size=(len(sets), 5)) / 9
    x[:, 4] += 1  # so that a row without a label is not noise alone
    return LabeledRows([f"t{i}" for i in range(len(sets))], x.astype(np.float32), matrix)


def test_copies_count_for_all_of_their_labels():
    real = rows([["a"]] * 8 + [["a", "b"]] * 2 + [["a", "b", "c"]] + [[]])
    more = copies(real, np.array([11, 9, 5]), seed=0)
    assert more.labels[: len(real)].tolist() == real.labels.tolist()
    added = more.labels[len(real) :]
    # The four more of c have b as well, so two more of b are enough; all have a.
    assert len(added) == 6 and added[:, :2].all() and added[:4, 2].all()
    assert copies(real, real.labels.sum(axis=0), seed=0).labels.shape == real.labels.shape


def test_each_label_is_learned_by_itself():
    real = rows([["a"]] * 20 + [["b"]] * 20 + [["a", "b"]] * 20 + [[]] * 20)
    test = rows([["a"], ["b"], ["a", "b"], []], seed=1)
    scores = scores_of(Arm(real), test, CLASSIFIERS["embedding"])
    assert ((scores > 0) == test.labels).all()
    assert (scores[:, 2] < 0).all()  # no training row has it


def test_a_draw_leaves_no_label_without_texts_and_no_text_without_its_parents(made):
    run, test = made
    material = read_run(run, read_test(run, test), Encoder().encode)
    left = []
    for seed in range(12):
        real, kept = drawn(material, seed, 0.1)
        assert len(real) == 54 and (real.labels.sum(axis=0) >= 2).all()
        texts = set(real.texts)
        for row in kept:
            assert {material.real.texts[i] for i in material.parents[row]} <= texts
        left.append(len(kept))
    assert 0 < min(left) < len(material.synthetic)


def test_the_report_has_all_arms_and_shows_sets(made):
    run, test = made
    manifest = Manifest.read(run)
    material = read_run(run, read_test(run, test), Encoder().encode)
    assert material.test.labels.sum() == sum(map(len, tagged_table(90)["label"].to_pylist()[60:]))
    control = {"label_only": material.synthetic}
    report = evaluate(manifest, material, [0, 1], ["embedding", "tfidf"], control, test, str)
    arms = {(row["classifier"], row["arm"]) for row in report["utility"]}
    names = ("nothing", "label_weights", "random_oversampling", "smotext", "label_only")
    assert arms == {(c, a) for c in ("embedding", "tfidf") for a in names}
    assert {row["metric"] for row in report["gains"]} == {
        *("micro_f1", "macro_f1", "ranking_precision", "recall_of_raised")
    }
    found = {row["label"]: row for row in report["labels"]}
    assert {label: row["before"] for label, row in found.items()} == COUNTS
    assert found["wheat"]["ratio_before"] == 50 / 4 and found["wheat"]["after"] >= 30
    assert report["imbalance"]["after"] < report["imbalance"]["before"]
    assert all(set(row["labels"]) <= set(COUNTS) for row in report["samples"])
    json.dumps(report, allow_nan=False)


def test_the_page_shows_texts_as_text(made):
    run, test = made
    material = read_run(run, read_test(run, test), Encoder().encode)
    report = evaluate(Manifest.read(run), material, [0], ["embedding"], {}, test, str)
    report["samples"][0]["text"] = "<script>alert(1)</script>"
    shown = page(report)
    assert "<script" not in shown and "&lt;script&gt;alert(1)" in shown
    assert "wheat, " in shown or ", wheat" in shown
    assert "default-src 'none'" in shown


class Prompted(Decode):
    """The stand-in for the LLM that is prompted with labels."""

    prompts = ()

    def __init__(self, config, counter, points, labels, of_parents):
        super().__init__(config, counter, points)
        type(self).prompts = labels


def test_the_control_is_prompted_with_all_labels_of_a_point(made, monkeypatch):
    run, _ = made
    monkeypatch.setattr(decode, "PromptActor", Prompted)
    config, executor = Manifest.read(run).config, HERE["executor"]
    found = label_only(run, config, Encoder().encode, executor)
    assert any(prompt.count(", ") >= 2 and "wheat" in prompt for prompt in Prompted.prompts)
    counts = dict(zip(Manifest.read(run).labels, found.labels.sum(axis=0), strict=True))
    assert all(counts[label] >= ASKED[label] - COUNTS[label] for label in ASKED)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([["earn"], ["corn"]], "labels that the run's corpus lacks (corn)"),
        (["earn", "ship"], "no lists of labels"),
        ([[], []], "no row with a label"),
    ],
)
def test_test_texts_that_do_not_suit_the_run(made, tmp_path, labels, said):
    pq.write_table(pa.table({"text": ["one", "two"], "label": labels}), tmp_path / "t.parquet")
    with pytest.raises(UserError) as caught:
        read_test(made[0], str(tmp_path / "t.parquet"))
    assert said in str(caught.value)


def test_labels_of_test_texts_are_those_of_the_corpus_in_another_type(made, tmp_path, monkeypatch):
    monkeypatch.setattr(Manifest, "labels", [0, 1, 2])
    table = pa.table({"text": ["one", "two"], "label": [["1", "0"], ["2"]]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_test(made[0], str(tmp_path / "t.parquet"))[1] == [[1, 0], [2]]


def command(made, output, *more):
    run, test = made
    return main(
        ["evaluate", "--run", run.uri, "--test", test, "--output", str(output), "--quick", *more]
    )


def test_the_command_writes_both_files(made, tmp_path, monkeypatch, capsys, own_log):
    monkeypatch.setattr(cli_evaluation, "_load_encode", lambda config: Encoder().encode)
    assert command(made, tmp_path / "report", "--seeds", "2") == 0
    said = capsys.readouterr().out
    assert "MeanIR" in said and "macro-F1" in said
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["kind"] == "several labels" and len(report["seeds"]) == 2
    assert (tmp_path / "report" / "report.html").read_text().startswith("<!doctype html>")
    assert Counter(row["arm"] for row in report["gains"] if "arm" in row) == {}


@pytest.mark.parametrize(
    "more", [("--variants", "adasyn"), ("--teacher", "embedding"), ("--classifiers", "bert")]
)
def test_what_is_of_classes_is_refused_before_a_model_is_loaded(
    made, tmp_path, capsys, own_log, more
):
    assert command(made, tmp_path / "report", *more) == 2
    assert "is for rows of one class each" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()
