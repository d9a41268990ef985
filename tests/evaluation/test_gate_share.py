"""The run's texts without the gate's choice, and with the gate's labels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from evaluated_run import WordEncoder
from handmade_run import build, corpus_table
from made_rows import topics

from smotext_ray.evaluation.controls import decode
from smotext_ray.evaluation.controls.gate_share import gate_controls
from smotext_ray.evaluation.utility.classifiers import fit_gate
from smotext_ray.evaluation.utility.training_sets import of_real

WANTED = {"grain": 12, "ship": 8}


@pytest.fixture
def run(tmp_path):
    rejected = dict.fromkeys([0, 1, 5, 13], "wrong_class")
    return build(tmp_path, WANTED, corpus=corpus_table(grain=9, ship=8), rejected=rejected)


def test_rejected_texts_are_among_them_with_their_parents(run):
    found = gate_controls(run, WordEncoder().encode)
    samples = run.table("samples", "round-1").to_table()
    ungated = found["ungated"]
    of_text = {row["text"]: row for row in samples.to_pylist()}
    assert set(ungated.rows.texts) == set(of_text) and ungated.asked == 20
    ids = run.table("embeddings").to_table().sort_by("id")["id"].to_pylist()
    for name, column in (("ungated", "label"), ("labeled_by_gate", "predicted_label")):
        control = found[name]
        for text, label, parents in zip(
            control.rows.texts, control.rows.labels, control.parents, strict=True
        ):
            row = of_text[text]
            assert label == row[column]
            assert [ids[p] for p in parents] == [row["source_id"], row["neighbor_id"]]


def test_their_order_is_drawn_and_errors_have_no_text(run, monkeypatch):
    first, again, other = (
        gate_controls(run, WordEncoder().encode, seed)["ungated"].rows.texts for seed in (0, 0, 1)
    )
    assert first == again != other and set(first) == set(other)
    samples = run.table("samples", "round-1").to_table()
    assert first != samples["text"].to_pylist()
    status = ["error" if i < 3 else s for i, s in enumerate(samples["status"].to_pylist())]
    at = samples.schema.get_field_index("status")
    broken = samples.set_column(at, "status", pa.array(status))
    monkeypatch.setattr(type(run), "table", with_samples(run, broken))
    kept = gate_controls(run, WordEncoder().encode)["ungated"]
    assert len(kept.rows) == 17 and kept.asked == 17


def test_points_of_a_release_have_no_parents(run, monkeypatch):
    monkeypatch.setattr(decode, "has_release", lambda run: True)
    assert gate_controls(run, WordEncoder().encode)["ungated"].parents.shape == (20, 0)


def with_samples(run, table):
    import pyarrow.dataset as ds

    before = type(run).table

    def replaced(self, *place):
        return ds.dataset(table) if place[0] == "samples" else before(self, *place)

    return replaced


def test_the_gates_class_check_is_a_classifier():
    train, test = topics(60), topics(30, seed=1)
    labels = fit_gate(of_real(train), test, 0)
    assert Counter(a == b for a, b in zip(labels, test.labels, strict=True))[True] > 28
    moved = fit_gate(of_real(train), test.take(np.arange(30)[::-1]), 0)
    assert moved == labels[::-1]
