"""``smotext evaluate`` and ``smotext canaries``: a whole report, and what is refused.

What the user gets wrong is one sentence and exit code 2, before a model is loaded.
"""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluated_run import WordEncoder, finished_run, held_out_table
from handmade_run import build, corpus_table

from smotext_ray.cli.main import main
from smotext_ray.evaluation.controls import decode
from smotext_ray.evaluation.controls.decode import Control
from smotext_ray.evaluation.fidelity import perplexity
from smotext_ray.evaluation.leakage.planting import LIST
from smotext_ray.evaluation.rows import Rows
from smotext_ray.models import load
from smotext_ray.plan import variants

pytestmark = pytest.mark.usefixtures("own_log")


@pytest.fixture
def no_models(monkeypatch):
    def load_encoder(config):
        raise AssertionError("this was to be refused before a model is loaded")

    monkeypatch.setattr(load, "load_encoder", load_encoder)


@pytest.fixture
def words(monkeypatch):
    monkeypatch.setattr(load, "load_encoder", lambda config: WordEncoder())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def test_file(tmp_path):
    return held_out_table(tmp_path)


@pytest.fixture
def evaluate(run, test_file, tmp_path):
    """Run the command; a later argument takes the place of an earlier one."""

    def call(*more):
        given = ["--run", run.uri, "--test", test_file, "--output", tmp_path / "report"]
        return main([str(argument) for argument in ("evaluate", *given, *more)])

    return call


@pytest.fixture
def refused(evaluate, capsys, tmp_path, no_models):
    """Evaluate with arguments that are to be refused; returns the sentence."""

    def call(*more):
        before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
        code = evaluate(*more)
        out, err = capsys.readouterr()
        assert code == 2 and out == "", err
        assert err.startswith("smotext: error: ") and err.count("\n") == 1
        assert "Traceback" not in err
        assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before
        return err

    return call


# Reports


def test_a_quick_report(evaluate, words, tmp_path, capsys):
    assert evaluate("--quick", "--seeds", 2) == 0
    out = capsys.readouterr().out
    assert "  logistic regression on embeddings: macro-F1 " in out and "best control" in out
    assert "Warning: Made with --quick" in out and "report.html" in out
    written = {file.name for file in (tmp_path / "report").iterdir()}
    assert written == {"report.json", "report.html"}
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["utility"]["seeds"] == [0, 1]
    assert {row["classifier"] for row in report["utility"]["rows"]} == {"embedding", "tfidf"}
    assert report["distillation"] is None
    assert not {"perplexity", "decoded_texts"} & set(report["fidelity"])


def test_soft_labels_are_written_and_an_old_report_is_replaced_whole(evaluate, words, tmp_path):
    output = tmp_path / "report"
    quick = ("--quick", "--seeds", 1, "--classifiers", "embedding")
    assert evaluate(*quick, "--teacher", "embedding") == 0
    frame = pd.read_parquet(output / "soft_labels.parquet")
    assert list(frame.columns) == ["sample_id", "label", "p.grain", "p.ship"] and len(frame) == 18
    first = json.loads((output / "report.json").read_text())
    assert first["distillation"]["teacher"] == "logistic regression on embeddings"
    assert {row["student"] for row in first["distillation"]["rows"]} == {"embedding", "tfidf"}
    assert evaluate(*quick, "--variants", "borderline", "svm") == 0
    assert {file.name for file in output.iterdir()} == {"report.json", "report.html"}
    again = json.loads((output / "report.json").read_text())
    assert again["distillation"] is None
    more = {row["arm"] for row in again["utility"]["rows"]}
    assert more - {row["arm"] for row in first["utility"]["rows"]} == {
        "embedding_borderline",
        "embedding_svm",
    }


def test_without_quick_the_llm_decodes_and_reads(evaluate, words, tmp_path, monkeypatch):
    texts = [f"shuffled text {i} on grain" for i in range(4)]
    control = Control(
        Rows(texts, WordEncoder().encode(texts), ["grain"] * 4), None, asked=20, accepted=4
    )
    order = []

    def decode_controls(run, config, encode):
        order.append("decoded")
        return {"label_only": control}

    def load_encoder(config):
        order.append("encoder loaded")
        return WordEncoder()

    monkeypatch.setattr(decode, "decode_controls", decode_controls)
    monkeypatch.setattr(load, "load_encoder", load_encoder)
    asked = []

    class Reader:
        def __init__(self, model, max_tokens):
            asked.append(max_tokens)

        def __call__(self, texts):
            return [(1.0, 2)] * len(texts)

    monkeypatch.setattr(perplexity, "TokenNLL", Reader)
    monkeypatch.setattr("smotext_ray.models.files.locate_model", lambda spec: _Files)
    assert evaluate("--seeds", 1, "--classifiers", "embedding") == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert order == ["decoded", "encoder loaded"]  # which shares its GPU with nobody
    assert asked == [96]
    assert report["fidelity"]["perplexity"]["new_texts"]["tokens"] == 36
    assert report["fidelity"]["decoded_texts"]["label_only"] == {
        "asked": 20,
        "accepted": 4,
        "tokens": 0,
    }
    assert "label_only" in {row["arm"] for row in report["utility"]["rows"]}


class _Files:
    path = "somewhere"


# Refusals


def test_the_test_file_is_wrong(refused, tmp_path):
    assert "does not exist" in refused("--test", tmp_path / "none.parquet")
    assert "name one of its columns (body, topic) with --text-column" in refused(
        "--text-column", "text"
    )
    assert "with --label-column" in refused("--label-column", "label")
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and no more")
    assert "cannot be read as parquet" in refused("--test", damaged)
    strange = tmp_path / "strange.csv"
    strange.write_text("body,topic\na b,wheat\nc d,ship\n")
    assert "classes that the run's corpus lacks (wheat)" in refused("--test", strange)
    assert "choose from reuters-r8" in refused("--test", "demo:reuters")


def test_there_is_nothing_to_evaluate(refused, tmp_path):
    assert "There is no run in" in refused("--run", tmp_path)
    planned = build(tmp_path / "planned", {"grain": 2}, until="plan")
    assert "no accepted texts yet" in refused("--run", planned.uri)
    embedded = build(tmp_path / "embedded", {}, until="embed")
    assert "no accepted texts yet" in refused("--run", embedded.uri)


def test_the_output_holds_something_else(refused, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    assert "has files but no report" in refused("--output", tmp_path / "mine")
    assert "is a file" in refused("--output", tmp_path / "mine" / "letter.txt")


def test_an_option_does_not_fit(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "MOST_SVM_ROWS", 5)
    assert "fits a support vector machine to at most 5" in refused("--variants", "svm")
    assert "--seeds is 0" in refused("--seeds", 0)
    assert "'svm'" in refused("--classifiers", "svm")
    assert "cannot be loaded" in refused("--teacher", "no-such/model")
    assert "does not exist" in refused("--teacher", tmp_path / "none")
    assert "cannot be read" in refused("--canaries", tmp_path / "none.json")


# Canaries


def test_canaries_are_planted_and_looked_for(words, tmp_path, test_file, capsys):
    source = tmp_path / "source.parquet"
    pq.write_table(corpus_table(30, 40), source)
    columns = ["--text-column", "body", "--label-column", "topic"]
    planted = tmp_path / "planted.parquet"
    arguments = ["canaries", "--input", source, *columns, "--output", planted, "--number", 10]
    assert main([str(argument) for argument in arguments]) == 0
    assert "Added 10 canaries at the end of" in capsys.readouterr().out
    secrets = [entry["secret"] for entry in json.loads((tmp_path / LIST).read_text())["planted"]]

    def text_of(i, label):
        return f"new text {i} on {label}" + (f" {secrets[i]}" if i < 3 else "")

    corpus = pq.read_table(planted)
    run = build(tmp_path / "run", {"grain": 12, "ship": 8}, corpus=corpus, text_of=text_of)
    given = ["--run", run.uri, "--test", test_file, "--output", tmp_path / "report"]
    more = ["--quick", "--seeds", 1, "--classifiers", "embedding", "--canaries", tmp_path / LIST]
    assert main([str(argument) for argument in ("evaluate", *given, *more)]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    lines = {row["name"]: row for row in report["privacy"]["rows"]}
    assert lines["leaked canaries"]["value"] == "3 of 10"
    assert "are in 3 synthetic texts; 10 of the 10 are" in lines["leaked canaries"]["note"]
    assert lines["exposure of canaries"]["value"]["count"] == 10
    assert "3.46 the maximum" in lines["exposure of canaries"]["note"]


def test_canaries_of_classes_without_new_texts_leave_no_trace(words, tmp_path, test_file):
    source = tmp_path / "source.parquet"
    pq.write_table(corpus_table(30, 40), source)
    columns = ["--text-column", "body", "--label-column", "topic"]
    planted = ["--output", tmp_path / "planted.parquet", "--number", 10]
    arguments = ["canaries", "--input", source, *columns, *planted]
    assert main([str(argument) for argument in arguments]) == 0
    listed = json.loads((tmp_path / LIST).read_text())
    ship = sum(entry["label"] == "ship" for entry in listed["planted"])
    assert 0 < ship < 10
    run = build(tmp_path / "run", {"ship": 8}, corpus=pq.read_table(tmp_path / "planted.parquet"))
    given = ["--run", run.uri, "--test", test_file, "--output", tmp_path / "report"]
    more = ["--quick", "--seeds", 1, "--classifiers", "embedding", "--canaries", tmp_path / LIST]
    assert main([str(argument) for argument in ("evaluate", *given, *more)]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    lines = {row["name"]: row for row in report["privacy"]["rows"]}
    assert f"; {ship} of the 10 are" in lines["leaked canaries"]["note"]
    assert lines["exposure of canaries"]["value"]["count"] == ship


def test_canaries_of_another_corpus_are_refused(refused, tmp_path, capsys):
    corpus = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"text": ["a b", "c d"], "label": ["x", "y"]}), corpus)
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "planted.parquet"
    assert main(["canaries", "--input", str(corpus), "--output", str(output)]) == 0
    capsys.readouterr()
    sentence = refused("--canaries", tmp_path / "out" / LIST)
    assert "20 of the 20 planted canaries" in sentence


def test_a_corpus_that_cannot_be_planted_in(tmp_path, capsys):
    corpus = tmp_path / "corpus.csv"
    corpus.write_text("text,label\na b,x\n,y\n")
    before = sorted(tmp_path.iterdir())
    for more in (["--output", tmp_path / "it.csv"], ["--output", tmp_path / "it.parquet"]):
        arguments = ["canaries", "--input", corpus, *more]
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("smotext: error: ") and err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
