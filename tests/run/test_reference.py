"""The reference taken in one pass is that of all rows at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smotext_ray.gate.reference import class_reference
from smotext_ray.plan.classes import read_classes
from smotext_ray.run.directory import Run
from smotext_ray.run.reference import build_reference, distinct_texts, load_reference
from smotext_ray.tables import fixed_size_list
from smotext_ray.utils.text import fingerprint

D = 5


def embedded(run, labels, texts, files=3, label_type=None):
    """Write ``embeddings/`` in that many files, one of them without rows; returns the matrix."""
    x = np.random.default_rng(1).normal(size=(len(labels), D)).astype(np.float32)
    table = pa.table(
        {
            "id": np.arange(len(labels)),
            "text": texts,
            "label": pa.array(labels, label_type),
            "embedding": fixed_size_list(x),
        }
    )
    size = -(-len(labels) // files)
    for number in range(files + 1):
        part = table.slice(number * size, size)
        pq.write_table(part, f"{run.make('embeddings')}/{number}.parquet", row_group_size=4)
    return x


@pytest.fixture
def run(tmp_path):
    return Run(str(tmp_path))


@pytest.mark.parametrize("labels", [["b", "a"], [3, 1], [True, False]])
def test_sums_equal_those_of_the_whole_matrix(run, labels):
    owners = np.random.default_rng(0).integers(0, 2, 40)
    texts = [f"text {i}" for i in range(40)]
    x = embedded(run, [labels[i] for i in owners], texts).astype(np.float64)
    build_reference(run, labels)
    got = load_reference(run)
    expected = class_reference(
        counts=np.bincount(owners),
        sums=np.stack([x[owners == 0].sum(0), x[owners == 1].sum(0)]),
        scatter=x.T @ x,
        fingerprints=np.array([fingerprint(text) for text in texts]),
    )
    # Whitening is unique except for a rotation: compare distances, not coordinates.
    np.testing.assert_allclose(
        got.whitener @ got.whitener.T, expected.whitener @ expected.whitener.T, rtol=1e-4
    )
    np.testing.assert_allclose(
        got.means @ got.means.T, expected.means @ expected.means.T, rtol=1e-4, atol=1e-4
    )
    probes = np.random.default_rng(2).normal(size=(50, D)).astype(np.float32)
    assert (got.nearest_class(probes) == expected.nearest_class(probes)).all()
    assert (got.fingerprints == expected.fingerprints).all()


def test_texts_without_an_embedding_are_held_and_counted(run, tmp_path):
    labels, texts = ["a"] * 6 + ["b"] * 4, [f"text {i}" for i in range(10)]
    x = embedded(run, labels, texts).astype(np.float64)
    build_reference(run, ["a", "b"])
    alone = load_reference(run)
    corpus = Run(str(tmp_path / "corpus"))
    more = [*texts, *(f"other text {i}" for i in range(18))]
    embedded(corpus, labels + ["a"] * 18, more)
    build_reference(run, ["a", "b"], corpus.table("embeddings").files)
    found = load_reference(run)
    assert distinct_texts(run, ["a", "b"]) == {"a": 24, "b": 4}
    assert all(found.holds(text) for text in more) and not alone.holds("other text 3")
    # Of 24 rows of "a" 6 have an embedding: in the covariance each counts as two.
    weights = np.repeat([2.0, 1.0], [6, 4])[:, None]
    expected = class_reference(
        counts=np.array([12, 4]),
        sums=np.stack([2 * x[:6].sum(0), x[6:].sum(0)]),
        scatter=(weights * x).T @ x,
        fingerprints=np.empty(0, np.int64),
    )
    np.testing.assert_allclose(
        found.whitener @ found.whitener.T, expected.whitener @ expected.whitener.T, rtol=1e-4
    )
    np.testing.assert_allclose(
        found.means @ found.means.T, expected.means @ expected.means.T, rtol=1e-4, atol=1e-4
    )


def test_every_text_of_the_corpus_is_held(run):
    texts = [f"Text number {i}" for i in range(9)]
    embedded(run, ["a", "b", "a"] * 3, texts)
    build_reference(run, ["a", "b"])
    reference = load_reference(run)
    assert all(reference.holds(text) for text in texts)
    assert reference.holds("  text NUMBER 4\n") and not reference.holds("text number 9")


def test_distinct_texts_of_each_class(run):
    labels = ["a", "a", "a", "b", "b", "b"]
    texts = ["one", " one ", "ONE", "one", "three", "four"]
    embedded(run, labels, texts)
    build_reference(run, ["a", "b"])
    distinct = distinct_texts(run, ["a", "b"])
    assert distinct == {"a": 2, "b": 3}
    # The plan, which finds neighbors among them, counts the same.
    classes = read_classes(run.table("embeddings"), ["a", "b"])
    assert {rows.label: rows.distinct for rows in classes} == distinct


def test_a_second_build_replaces_the_first(run):
    embedded(run, ["a", "b"] * 4, [f"text {i}" for i in range(8)])
    build_reference(run, ["a", "b"])
    first = load_reference(run)
    build_reference(run, ["b", "a"])
    second = load_reference(run)
    np.testing.assert_allclose(first.means, second.means[::-1], atol=1e-6)
