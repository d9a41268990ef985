"""The gate's cleaning is imbalanced-learn's, of each new text added to the corpus alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.under_sampling import EditedNearestNeighbours, TomekLinks

from smotext_ray.config.schema import RunConfig
from smotext_ray.gate.cleaning import Cleaning, cleaning_gib, cleaning_of
from smotext_ray.plan import classes as classes_module
from smotext_ray.plan.classes import read_classes
from smotext_ray.tables import fixed_size_list

THEIRS = {
    "enn": EditedNearestNeighbours(sampling_strategy="all", n_neighbors=3, kind_sel="all"),
    "tomek": TomekLinks(sampling_strategy="all"),
}


def unit(rng, rows, d):
    x = rng.normal(size=(rows, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def removed_by_theirs(rule, text, owner, classes):
    x = np.concatenate([*classes, text[None]])
    y = np.concatenate([np.full(len(rows), code) for code, rows in enumerate(classes)] + [[owner]])
    THEIRS[rule].fit_resample(x, y)
    return len(x) - 1 not in THEIRS[rule].sample_indices_


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("rule", THEIRS)
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    rows=st.lists(st.integers(1, 9), min_size=2, max_size=4).filter(lambda rows: sum(rows) >= 4),
    d=st.integers(2, 5),
    repeats=st.booleans(),
)
def test_it_is_imbalanced_learns(rule, metric, seed, rows, d, repeats):
    rng = np.random.default_rng(seed)
    classes = [unit(rng, n, d) for n in rows]
    if repeats:  # corpora hold some texts twice
        classes = [np.concatenate([x, x[:1]]) for x in classes]
    new, owners = unit(rng, 12, d), rng.integers(0, len(rows), 12)
    got = Cleaning(rule, classes, metric)(new, owners)
    expected = [removed_by_theirs(rule, x, o, classes) for x, o in zip(new, owners, strict=True)]
    assert got.tolist() == expected


@pytest.mark.parametrize("rule", THEIRS)
def test_both_verdicts_are_met(rule):
    """So that the comparison above is one: some texts go, some stay."""
    rng = np.random.default_rng(0)
    classes = [unit(rng, 20, 3), unit(rng, 8, 3)]
    new, owners = unit(rng, 200, 3), rng.integers(0, 2, 200)
    assert 10 < Cleaning(rule, classes, "cosine")(new, owners).sum() < 190


@pytest.mark.parametrize("rule", THEIRS)
def test_a_verdict_does_not_depend_on_the_other_texts(rule):
    rng = np.random.default_rng(1)
    cleaning = Cleaning(rule, [unit(rng, 30, 3), unit(rng, 9, 3)], "cosine")
    new, owners = unit(rng, 50, 3), rng.integers(0, 2, 50)
    new[1::2] = new[::2]  # each next to its own copy
    together = cleaning(new, owners)
    assert together.any() and not together.all()
    order = rng.permutation(50)
    assert cleaning(new[order], owners[order]).tolist() == together[order].tolist()
    alone = [cleaning(new[[i]], owners[[i]])[0] for i in range(50)]
    assert alone == together.tolist()


def line(*places):
    return np.array(places, np.float32)[:, None]


def test_classes_of_few_texts():
    far = line(100, 101, 102)
    assert verdict("enn", 1, [line(0, 2), far])  # the third is of the other class
    assert not verdict("enn", 1, [line(0, 2, 3), far])
    assert not verdict("enn", 1, [line(0, 2)])  # there is no other class
    assert not verdict("tomek", 1, [line(0)])
    assert verdict("tomek", 99, [line(0), line(100)])  # neither has another


def test_a_tie_is_no_reason_to_reject():
    assert not verdict("enn", 0, [line(-1, 1, 2), line(-2)])
    assert not verdict("tomek", 0, [line(-1), line(1, 9)])
    assert not verdict("tomek", 0, [line(-9), line(1, 2)])  # 2 is as near to 1
    assert verdict("tomek", 0, [line(-9), line(1, 2.5)])


def test_a_text_said_twice_in_the_corpus_is_no_partner():
    assert verdict("tomek", 0, [line(-9), line(1)])
    assert not verdict("tomek", 0, [line(-9), line(1, 1)])
    assert not verdict("tomek", 0, [line(-9), line(1, 1, 1, 1)])
    assert not verdict("tomek", 0, [line(-9), line(1), line(1)])


def verdict(rule, place, classes):
    return bool(Cleaning(rule, classes, "euclidean")(line(place), np.array([0]))[0])


def test_what_is_no_number_is_left_to_the_other_checks():
    classes = [line(0, 1, 2), line(100)]
    new = line(np.nan, 99, np.inf, 1)
    got = Cleaning("enn", classes, "euclidean")(new, np.zeros(4, int))
    assert got.tolist() == [False, True, False, False]
    assert Cleaning("enn", classes, "euclidean")(np.empty((0, 1)), np.empty(0, int)).tolist() == []


def corpus(texts=True):
    rng = np.random.default_rng(0)
    labels = ["b", "a", "a", "b", "a", "a"]
    columns = {"id": range(6), "label": labels, "embedding": fixed_size_list(unit(rng, 6, 4))}
    if texts:
        columns["text"] = [f"text {i % 5}" for i in range(6)]
    return ds.dataset(pa.table(columns))


@pytest.mark.parametrize("texts", [True, False])
def test_a_run_that_asks_for_it_reads_every_row_of_the_corpus(texts):
    config = RunConfig.model_validate({"gate": {"cleaning": "enn"}})
    source = corpus(texts)
    made = cleaning_of(config, source, ["a", "b"])
    by_class = [rows.embeddings for rows in read_classes(source, ["a", "b"])]
    assert [len(rows) for rows in by_class] == [4, 2]
    new = unit(np.random.default_rng(2), 40, 4)
    owners = np.arange(40) % 2
    expected = Cleaning("enn", by_class, "cosine")(new, owners)
    assert made(new, owners).tolist() == expected.tolist() and expected.any()


def test_a_run_that_does_not_ask_reads_nothing():
    assert cleaning_of(RunConfig(), None, ["a"]) is None
    assert cleaning_gib(RunConfig(), None) == 0


def test_the_memory_is_counted_and_bounded_by_what_is_held_on_disk(monkeypatch):
    config = RunConfig.model_validate({"gate": {"cleaning": "tomek"}})
    assert cleaning_gib(config, corpus()) * 1024**3 == 6 * (4 * 4 + 640)
    monkeypatch.setattr(classes_module, "HELD_BYTES", 50)
    assert cleaning_gib(config, corpus()) * 1024**3 == 50 + 6 * 640


def test_embeddings_on_disk_give_the_same_verdicts(monkeypatch):
    config = RunConfig.model_validate({"gate": {"cleaning": "tomek"}})
    new, owners = unit(np.random.default_rng(3), 60, 4), np.arange(60) % 2
    here = cleaning_of(config, corpus(), ["a", "b"])(new, owners)
    monkeypatch.setattr(classes_module, "HELD_BYTES", 0)
    there = cleaning_of(config, corpus(), ["a", "b"])
    assert isinstance(there._classes[0], np.memmap)
    assert there(new, owners).tolist() == here.tolist() and here.any()
