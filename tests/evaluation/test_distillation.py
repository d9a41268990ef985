"""Teachers, soft labels, and students that learn what they are told and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from evaluated_run import WordEncoder, finished_run, held_out_table
from made_rows import rows_of, topics
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from tiny_models import tiny_encoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from smotext_ray.errors import UserError
from smotext_ray.evaluation.inputs import read_evaluation_data, read_held_out
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility.distillation import (
    STUDENTS,
    distil,
    learn_embedding,
    learn_tfidf,
    soft_labels,
)
from smotext_ray.evaluation.utility.draws import drawn
from smotext_ray.evaluation.utility.teacher import (
    TeacherLabels,
    load_classifier,
    teach_by_embeddings,
)

METRICS = ["accuracy", "macro_f1", "balanced_accuracy"]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    run = finished_run(tmp_path_factory.mktemp("run"))
    test = held_out_table(tmp_path_factory.mktemp("test"))
    found = read_evaluation_data(run, read_held_out(run, test), WordEncoder().encode)
    # The handmade run's own embeddings tell nothing of its texts.
    real = replace(found.real, embeddings=WordEncoder().encode(found.real.texts))
    return replace(found, real=real)


def quiet(line):
    pass


# Students


@pytest.mark.parametrize("learn", [learn_embedding, learn_tfidf])
def test_a_student_learns_the_soft_labels_and_not_the_classes(learn):
    train, test = topics(60), topics(30, seed=1)
    codes = np.array([("bank", "corn", "ship").index(label) for label in train.labels])
    turned = np.full((60, 3), 0.1)
    turned[np.arange(60), (codes + 1) % 3] = 0.8
    guess = learn(train, turned, test, 0)
    wanted = [("ship", "bank", "corn").index(label) for label in test.labels]
    assert np.mean(guess == np.array(wanted)) > 0.9


@pytest.mark.parametrize("learn", [learn_embedding, learn_tfidf])
def test_probabilities_are_weighed_and_not_counted(learn):
    train = Rows(["oil up"] * 3, np.ones((3, 2), np.float32), ["a"] * 3)
    # Two of three rows say the second class; all together say the first.
    targets = np.array([[0.45, 0.55], [0.45, 0.55], [0.95, 0.05]])
    assert learn(train, targets, train, 0).tolist() == [0, 0, 0]
    assert learn(train, targets[:, ::-1], train, 0).tolist() == [1, 1, 1]


def test_hard_labels_make_the_classifier_of_the_utility():
    train, test = topics(30), topics(30, seed=1)
    names = sorted(set(train.labels))
    targets = np.eye(3)[np.searchsorted(names, train.labels)]
    model = LogisticRegression(C=10, max_iter=2000)
    model.fit(normalize(train.embeddings), train.labels)
    wanted = model.predict(normalize(test.embeddings)).tolist()
    assert [names[code] for code in learn_embedding(train, targets, test, 0)] == wanted


def test_one_class_in_all_soft_labels_is_predicted_throughout():
    rows = rows_of(["x y", "y z"], ["a", "b"])
    sure = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert learn_embedding(rows, sure, rows, 0).tolist() == [1, 1]


# The section


def test_students_against_their_teacher(material):
    taught = teach_by_embeddings(material)
    section = distil(taught, material, [0, 1, 2], STUDENTS, quiet)
    assert section["note"] is None
    assert [(r["student"], r["labels"], r["metric"]) for r in section["rows"]] == [
        (student, kind, metric)
        for student in ("embedding", "tfidf")
        for kind in ("soft", "hard")
        for metric in METRICS
    ]
    for row in section["rows"]:
        assert row["teacher"] == 1.0  # the class stands in every text
        assert row["score"]["n"] == 3
        assert row["ratio"]["mean"] == pytest.approx(row["score"]["mean"])
    # Where the teacher is always right, to agree is to be right.
    right = [row["score"]["mean"] for row in section["rows"] if row["metric"] == "accuracy"]
    assert [row["share"]["mean"] for row in section["agreement"]] == pytest.approx(right)
    assert min(right) > 0.7 and max(right) == 1.0


def test_agreement_is_with_the_teacher_and_not_with_the_truth(material):
    taught = teach_by_embeddings(material)
    wrong = replace(taught, test=taught.test[:, ::-1], new=taught.new[:, ::-1])
    section = distil(wrong, material, [0, 1], STUDENTS, quiet)
    told = {(row["student"], row["labels"]): row["share"]["mean"] for row in section["agreement"]}
    assert told[("embedding", "soft")] == 1.0 and told[("embedding", "hard")] == 0.0
    ratio = next(row["ratio"] for row in section["rows"] if row["labels"] == "soft")
    assert ratio["mean"] is None  # the teacher knows nothing: there is no ratio to 0


def test_students_see_the_drawn_new_texts_alone(material):
    seen = []

    def student(train, targets, test, seed):
        seen.append((seed, train.texts, targets))
        assert test is material.test
        return np.zeros(len(test), np.int64)

    taught = teach_by_embeddings(material)
    distil(taught, material, [4, 5], {"mine": student}, quiet)
    assert [seed for seed, _, _ in seen] == [4, 4, 5, 5]
    for seed, texts, targets in seen:
        rows = drawn(material, seed)[1]
        assert texts == [material.synthetic.texts[row] for row in rows]
        assert len(targets) == len(rows)
    np.testing.assert_array_equal(seen[0][2], taught.new[drawn(material, 4)[1]])
    assert set(np.unique(seen[1][2])) == {0.0, 1.0}


def test_a_class_without_new_texts_is_told(material):
    ship = [i for i, label in enumerate(material.synthetic.labels) if label == "ship"]
    less = replace(
        material,
        synthetic=material.synthetic.take(ship),
        parents=material.parents[ship],
        sample_ids=[material.sample_ids[i] for i in ship],
    )
    section = distil(teach_by_embeddings(less), less, [0], STUDENTS, quiet)
    assert section["rows"] == [] and section["agreement"] == []
    assert section["note"].startswith("No student was trained: 1 of 2 classes")
    assert "(grain)" in section["note"]


def test_soft_labels_as_a_table(material):
    taught = teach_by_embeddings(material)
    frame = soft_labels(taught, material).to_pandas()
    assert list(frame.columns) == ["sample_id", "label", "p.grain", "p.ship"]
    assert frame["sample_id"].tolist() == material.sample_ids
    assert frame["label"].tolist() == material.synthetic.labels
    shares = frame.filter(like="p.")
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert shares.idxmax(axis=1).str.removeprefix("p.").tolist() == frame["label"].tolist()


# Teachers


def test_the_teacher_on_embeddings_learns_the_real_rows(material):
    taught = teach_by_embeddings(material)
    model = LogisticRegression(C=10, max_iter=2000)
    model.fit(normalize(material.real.embeddings), material.real.labels)
    wanted = model.predict_proba(normalize(material.test.embeddings))
    np.testing.assert_allclose(taught.test, wanted, atol=1e-4)
    assert taught.classes == ["grain", "ship"] and taught.new.dtype == np.float32


@pytest.fixture
def classifier(tmp_path):
    """A tiny BERT with a layer for the classes, in an order that is not theirs."""

    def save(labels=("ship", "grain")):
        directory = tiny_encoder(tmp_path / "classifier")
        torch.manual_seed(1)
        model = AutoModelForSequenceClassification.from_pretrained(
            directory, num_labels=len(labels), id2label=dict(enumerate(labels))
        )
        model.save_pretrained(directory)
        return directory

    return save


def test_a_hub_classifier_teaches_in_the_order_of_the_classes(classifier, material):
    directory = classifier()
    taught = load_classifier(str(directory), ["grain", "ship"]).teach(material)
    assert taught.classes == ["grain", "ship"] and taught.teacher == str(directory)
    assert taught.new.shape == (len(material.synthetic), 2)
    model = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    with torch.inference_mode():
        logits = model(**tokenizer(material.test.texts[:1], return_tensors="pt")).logits
    wanted = torch.softmax(logits, dim=1)[0].numpy()[::-1]
    np.testing.assert_allclose(taught.test[0], wanted, atol=1e-5)


def test_a_classifier_of_other_classes_is_refused(classifier):
    directory = str(classifier(("ship", "corn")))
    with pytest.raises(UserError, match=r"has the classes ship, corn, but the run has grain, ship"):
        load_classifier(directory, ["grain", "ship"])
    with pytest.raises(UserError, match=r"has the classes .*, but the run has corn, grain, ship"):
        load_classifier(directory, ["ship", "corn", "grain"])


def test_a_model_that_was_never_trained_to_classify_is_refused(classifier):
    directory = classifier()
    tiny = tiny_encoder(directory.parent / "plain")
    config = AutoModelForSequenceClassification.from_pretrained(directory).config
    config.save_pretrained(tiny)
    with pytest.raises(UserError, match=r"lacks weights \(.*classifier"):
        load_classifier(str(tiny), ["grain", "ship"])


def test_only_safetensors_are_read(classifier):
    directory = classifier()
    model = AutoModelForSequenceClassification.from_pretrained(directory)
    (directory / "model.safetensors").unlink()
    torch.save(model.state_dict(), directory / "pytorch_model.bin")
    with pytest.raises(UserError, match="safetensors") as caught:
        load_classifier(str(directory), ["grain", "ship"])
    assert "\n" not in str(caught.value)
    (directory / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_classifier(str(directory), ["grain", "ship"])


@pytest.mark.parametrize("name", ["no-such-user/no-such-model", "embeding"])
def test_a_teacher_that_is_not_there_is_refused(name):
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        load_classifier(name, ["a", "b"])
    assert "\n" not in str(caught.value)


def test_a_table_of_soft_labels_takes_any_class_name(material):
    odd = TeacherLabels("t", ["a.b", "p. c"], np.full((18, 2), 0.5, np.float32), np.empty((0, 2)))
    table = soft_labels(odd, material)
    assert table.column_names == ["sample_id", "label", "p.a.b", "p.p. c"]
