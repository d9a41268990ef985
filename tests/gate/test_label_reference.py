"""Which labels an embedding has: one label against the rest, from sums taken in one pass."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from smotext_ray.config.schema import RunConfig
from smotext_ray.gate.gate import Gate
from smotext_ray.gate.label_reference import label_reference, sum_up_labels
from smotext_ray.tables import fixed_size_list

LABELS = ["a", "b", "c"]
DIM = 6


def corpus(rows=300, seed=0):
    """Rows whose embeddings are the sum of their labels' directions, and noise."""
    rng = np.random.default_rng(seed)
    has = rng.random((rows, 3)) < (0.5, 0.3, 0.2)
    x = has @ (2.5 * np.eye(3, DIM)) + rng.normal(size=(rows, DIM))
    sets = [[LABELS[j] for j in np.flatnonzero(row)] for row in has]
    table = pa.table(
        {
            "text": [f"text {i}" for i in range(rows)],
            "label": pa.array(sets, pa.list_(pa.string())),
            "embedding": fixed_size_list(x.astype(np.float32)),
        }
    )
    return table, x.astype(np.float32), has


def test_verdicts_are_those_of_a_discriminant_analysis_for_each_label():
    """With equal priors; scikit-learn's is fitted to the covariance within the two sides."""
    table, x, has = corpus(4000)
    reference, distinct = sum_up_labels(ds.dataset(table), LABELS, ds.dataset(table))
    assert distinct == has.sum(axis=0).tolist()
    new = np.random.default_rng(1).normal(size=(2000, DIM)).astype(np.float32) * 2
    found = reference.has_labels(new)
    for j in range(3):
        fitted = LinearDiscriminantAnalysis(priors=[0.5, 0.5]).fit(x, has[:, j])
        assert (fitted.predict(new) == found[:, j]).mean() > 0.995  # the gate's is shrunk a little


def test_batches_do_not_matter_and_rows_without_a_label_count():
    table, x, has = corpus()
    whole, _ = sum_up_labels(ds.dataset(table), LABELS, ds.dataset(table))
    parts = ds.dataset(pa.concat_tables([table.slice(0, 7), table.slice(7)]))
    split, _ = sum_up_labels(parts, LABELS, parts)
    some = table.filter(pa.array(has.any(axis=1)))
    fewer, _ = sum_up_labels(ds.dataset(some), LABELS, ds.dataset(table))
    np.testing.assert_array_equal(whole.has_labels(x), split.has_labels(x))
    assert (whole.has_labels(x) != fewer.has_labels(x)).any()
    assert whole.holds("Text 0 ") and not whole.holds("text of nobody")


def test_a_label_that_every_row_has_is_never_lost():
    x = np.random.default_rng(0).normal(size=(20, DIM))
    reference = label_reference(
        np.array([20, 5]), np.stack([x.sum(0), x[:5].sum(0)]), 20, x.sum(0), x.T @ x, np.array([1])
    )
    assert reference.has_labels(x.astype(np.float32))[:, 0].all()
    assert not reference.has_labels(x.astype(np.float32))[:, 1].all()


class Encoder:
    """The embedding that a text names."""

    def encode(self, texts, batch_size):
        return np.array([[float(number) for number in text.split()] for text in texts], np.float32)


def judged(text, planned, **gate):
    table, _, _ = corpus()
    reference, _ = sum_up_labels(ds.dataset(table), LABELS, ds.dataset(table))
    config = RunConfig(gate={"min_cosine": -1, **gate})
    judge = Gate(Encoder(), config, reference, LABELS, pa.string())
    row = pa.table(
        {
            "sample_id": [1],
            "label": ["b"],
            "source_id": [0],
            "neighbor_id": [1],
            "lam": pa.array([0.5], pa.float32()),
            "seed": [3],
            "round": pa.array([1], pa.int32()),
            "source_text": ["one"],
            "neighbor_text": ["two"],
            "labels": pa.array([planned]),
            "point": fixed_size_list(np.ones((1, DIM), np.float32)),
            "texts": [[text]],
            "finish_reasons": [["stop"]],
            "tokens": [[3]],
            "error": pa.array([None], pa.string()),
        }
    )
    (sample,) = judge(row).to_pylist()
    return sample["status"], sample["reason"], sample["labels"]


AB, B_ALONE, A_ALONE = "2.5 2.5 0 0 0 0", "0 2.5 0 0 0 0", "2.5 0 0 0 0 0"


@pytest.mark.parametrize(
    ("text", "gate", "expected"),
    [
        (AB, {}, ("accepted", "", ["a", "b"])),
        (B_ALONE, {}, ("accepted", "", ["b"])),
        (B_ALONE, {"labels": "reject"}, ("rejected", "wrong_class", ["b"])),
        (AB, {"labels": "reject"}, ("accepted", "", ["a", "b"])),
        (A_ALONE, {}, ("rejected", "wrong_class", ["a"])),
        (A_ALONE, {"same_class": False}, ("accepted", "", ["a", "b"])),
    ],
)
def test_a_lost_label_is_dropped_or_rejects_the_text(text, gate, expected):
    """The point was made for b; its labels are a and b."""
    assert judged(text, ["a", "b"], **gate) == expected
