"""What an evaluation reads: the run's result, its corpus, and test texts of its classes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluated_run import WANTED, WordEncoder, finished_run, held_out_table
from handmade_run import build, corpus_table

from smotext_ray.corpus import sources
from smotext_ray.errors import UserError
from smotext_ray.evaluation import inputs
from smotext_ray.evaluation.inputs import read_corpus, read_evaluation_data, read_held_out


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def test_file(tmp_path_factory) -> str:
    return held_out_table(tmp_path_factory.mktemp("test"))


def test_a_run_without_texts_is_refused(tmp_path, test_file):
    planned = build(tmp_path, WANTED, until="plan", corpus=corpus_table(30, 40))
    with pytest.raises(UserError, match="no accepted texts yet"):
        read_held_out(planned, test_file)


def without_texts(run):
    for file in run.table("embeddings").files:
        table = pq.read_table(file)
        pq.write_table(table.drop_columns(["text"]), file)
    return run


def test_a_run_that_has_not_kept_its_corpus_needs_it_again(tmp_path):
    run = without_texts(finished_run(tmp_path))
    with pytest.raises(UserError, match="name the table that it was made from with --corpus"):
        read_corpus(run, None)


def test_a_run_that_has_its_corpus_takes_no_other(run):
    assert read_corpus(run, None) is None
    with pytest.raises(UserError, match="omit --corpus"):
        read_corpus(run, "corpus.parquet")


def test_the_corpus_given_again_is_evaluated_and_its_texts_are_not_shown(tmp_path, test_file):
    run = finished_run(tmp_path)
    encode = WordEncoder().encode
    held_out = read_held_out(run, test_file)
    wanted = read_evaluation_data(run, held_out, encode)
    without_texts(run)
    corpus = read_corpus(run, str(tmp_path / "corpus.parquet"))  # as `build` left it
    found = read_evaluation_data(run, held_out, encode, corpus)
    assert found.real.texts == wanted.real.texts and found.real.labels == wanted.real.labels
    np.testing.assert_allclose(found.real.embeddings, encode(found.real.texts))
    assert (found.parents == wanted.parents).all()
    assert {sample["source_text"] for sample in found.samples} == {None}
    assert None not in {sample["source_text"] for sample in wanted.samples}


def test_another_table_than_the_runs_is_no_corpus(tmp_path):
    run = without_texts(finished_run(tmp_path))
    file = str(tmp_path / "other.parquet")
    pq.write_table(corpus_table(30, 41), file)
    with pytest.raises(UserError, match="does not match the rows of the run"):
        read_corpus(run, file)


def test_test_texts_of_other_classes_are_refused(run, tmp_path):
    file = tmp_path / "test.csv"
    file.write_text("body,topic\nunseen,wheat\nunseen too,ship\n")
    with pytest.raises(UserError, match=r"classes that the run's corpus lacks \(wheat\)"):
        read_held_out(run, str(file))


def test_a_demo_data_set_means_its_test_texts(run, monkeypatch):
    asked = []

    def load(name, split):
        asked.append((name, split))
        return pa.table({"text": ["a b", "c d"], "label": ["grain", "ship"]})

    monkeypatch.setattr(sources, "load_dataset", load)
    assert read_held_out(run, "demo:reuters-r8").labels == ["grain", "ship"]
    read_held_out(run, "demo:reuters-r8:train")
    assert asked == [("reuters-r8", "test"), ("reuters-r8", "train")]


def test_labels_of_a_table_are_those_of_the_run():
    assert inputs._names([1, 0, "a"], [1, 0]) == ["1", "0", "a"]
    assert inputs._names([1, 0], [1.0, 0.0]) == ["1.0", "0.0"]  # of an older run
