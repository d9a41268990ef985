"""`SMOTExT` with several labels per text: matrices, lists and sets in, the same out."""

from __future__ import annotations

from collections import Counter

import datasets
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from given_sampler import sampler
from tagged_corpus import COUNTS, tagged_table

from smotext_ray import augment_split
from smotext_ray.api.label_sets import has_label_sets, read_label_sets

NAMES = list(COUNTS)
TABLE = tagged_table()
TEXTS, SETS = TABLE["text"].to_pylist(), TABLE["label"].to_pylist()
MATRIX = np.array([[int(name in labels) for name in NAMES] for labels in SETS])
ASKED = {"grain": 15, "wheat": 12}
BY_NUMBER = {NAMES.index(name): number for name, number in ASKED.items()}


def kinds():
    return {
        "array": (MATRIX, BY_NUMBER),
        "bool array": (MATRIX.astype(bool), BY_NUMBER),
        "nested lists": (MATRIX.tolist(), BY_NUMBER),
        "sparse matrix": (scipy.sparse.csc_matrix(MATRIX), BY_NUMBER),
        "sparse array": (scipy.sparse.lil_array(MATRIX.astype(np.int8)), BY_NUMBER),
        "frame": (pd.DataFrame(MATRIX, columns=NAMES).astype("int8"), ASKED),
        "sets": ([set(labels) for labels in SETS], ASKED),
        "lists": (SETS, ASKED),
        "tuples": (tuple(map(tuple, SETS)), ASKED),
        "series": (pd.Series(SETS, name="topics"), ASKED),
    }


def as_sets(kind, y):
    """The labels of each row by their names, sorted."""
    if kind in ("sets", "lists", "tuples", "series"):
        return [sorted(labels) for labels in y]
    matrix = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    return [sorted(np.array(NAMES)[row.astype(bool)].tolist()) for row in matrix]


@pytest.mark.parametrize("kind", kinds())
def test_what_goes_in_comes_out(kind):
    y, asked = kinds()[kind]
    smotext = sampler(k_neighbors=3, sampling_strategy=asked)
    texts, labels = smotext.fit_resample(TEXTS, y)
    assert type(labels) is type(y)
    found = as_sets(kind, labels)
    assert found[:60] == [sorted(each) for each in SETS] and len(found) == len(texts) > 60
    for name, number in ASKED.items():
        assert sum(name in each for each in found) >= number
    if hasattr(y, "dtype"):
        assert labels.dtype == y.dtype
    if hasattr(y, "format"):
        assert labels.format == y.format
    if isinstance(y, pd.DataFrame):
        assert labels.dtypes.equals(y.dtypes)
    if isinstance(y, pd.Series):
        assert labels.name == y.name
    assert len(smotext.sample_weight_) == len(texts) == len(smotext.lineage_) + 60
    assert smotext.lineage_["row"].tolist() == list(range(60, len(texts)))


def test_all_forms_give_the_same_texts():
    made = {}
    for kind, (y, asked) in kinds().items():
        texts, labels = sampler(k_neighbors=3, sampling_strategy=asked).fit_resample(TEXTS, y)
        made[kind] = texts, as_sets(kind, labels)
    # Numbers and names are other labels, with draws of their own.
    for kinds_ in (("array", "sparse matrix", "nested lists"), ("sets", "lists", "frame")):
        assert made[kinds_[0]] == made[kinds_[1]] == made[kinds_[2]]


def test_a_sparse_matrix_is_never_made_dense():
    rows, columns = [0, 1, 199_999, 199_999], [7, 99_999, 7, 3]
    wide = scipy.sparse.csc_array((np.ones(4, np.int8), (rows, columns)), (200_000, 100_000))
    assert has_label_sets(wide)
    sets, back = read_label_sets(wide)
    assert sets[:2] == [[7], [99_999]] and sets[-1] == [3, 7] and sum(map(len, sets)) == 4
    more = back([[3, 99_999]])
    assert more.shape == (200_001, 100_000) and more.nnz == 6 and more[[200_000], [3]].all()
    wide.data[0] = 2
    with pytest.raises(ValueError, match="values other than 0 and 1"):
        read_label_sets(wide)


def test_auto_and_fit_say_how_many_texts_a_label_gets():
    smotext = sampler().fit(TEXTS, SETS)
    assert smotext.sampling_strategy_ == {"wheat": 5, "grain": 3}
    _, labels = sampler(k_neighbors=3).fit_resample(TEXTS, SETS)
    assert sum("wheat" in each for each in labels) >= 9


def test_one_label_each_is_a_matter_of_classes_as_before():
    one_hot = np.eye(3, dtype=int)[[0] * 5 + [1] * 9 + [2] * 7]
    assert not has_label_sets(one_hot) and not has_label_sets(["a", "b"])
    texts = [f"text {i}" for i in range(21)]
    _, y = sampler(k_neighbors=3).fit_resample(texts, one_hot)
    assert y.sum(axis=0).tolist() == [9, 9, 9]
    one_hot[0] = 0  # a text without a label
    assert has_label_sets(one_hot)


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y[:, :2],
        lambda y: y.astype(bool),
        lambda y: y.astype(float),
        lambda y: y.tolist(),
        lambda y: pd.DataFrame(y, columns=["a", "b", "nobody"]).astype("Int8"),
        scipy.sparse.csr_matrix,
        scipy.sparse.csc_array,
    ],
)
def test_a_one_hot_matrix_comes_back_in_its_form(form):
    """Also with two columns, and with one for a class without texts."""
    y = form(np.eye(3, dtype=int)[[0] * 5 + [1] * 9])
    _, more = sampler(k_neighbors=3).fit_resample([f"text {i}" for i in range(14)], y)
    assert type(more) is type(y)
    dense = more.toarray() if scipy.sparse.issparse(more) else np.asarray(more, int)
    assert dense[14:].tolist() == [[1, 0, 0][: dense.shape[1]]] * 4
    if isinstance(y, pd.DataFrame):
        assert more.dtypes.equals(y.dtypes)
    elif not isinstance(y, list):
        assert more.dtype == y.dtype


def test_a_column_of_labels_is_one_label_per_text():
    y = np.array(["a"] * 5 + ["b"] * 9)[:, None]
    assert not has_label_sets(y)
    _, more = sampler(k_neighbors=3).fit_resample([f"text {i}" for i in range(14)], y)
    assert more.shape == (18,) and Counter(more.tolist()) == {"a": 9, "b": 9}


def test_the_column_of_a_dataset_is_read_as_a_list():
    data = datasets.Dataset.from_dict({"text": TEXTS, "labels": [sorted(each) for each in SETS]})
    expected = sampler(k_neighbors=3).fit_resample(TEXTS, [sorted(each) for each in SETS])
    assert sampler(k_neighbors=3).fit_resample(data["text"], data["labels"]) == expected


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ([["a", ["b"]], ["a"]] * 30, "Row 0 of y has a label of type list"),
        ([["a", None], ["a"]] * 30, "Row 0 of y has a label of type NoneType"),
        ([["a"], None] * 30, "Row 1 of y is no list or set of labels"),
        ([["a"], [1]] * 30, "Some labels in y are strings and some are integers"),
        ([[], []] * 30, "No text has a label"),
        ([["a"], []] * 30, "y has only the label 'a'"),
        (pd.DataFrame(MATRIX, columns=["a", *"aceg"][: len(NAMES)]), "have the same name"),
        (pd.DataFrame(MATRIX, columns=["a", *range(1, len(NAMES))]), "by strings or by integers"),
        (MATRIX * 2, "y is a matrix with values other than 0 and 1"),
        (SETS[:-1], "There are 60 texts and 59 labels"),
    ],
)
def test_bad_labels_are_refused_in_one_sentence(y, said):
    with pytest.raises(ValueError, match=said) as caught:
        sampler(k_neighbors=3).fit_resample(TEXTS, y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sampling_strategy": {"corn": 9}}, "unknown class 'corn'"),
        ({"sampling_strategy": "minority"}, "use auto"),
        ({"variant": "adasyn"}, "plan.variant=adasyn is for rows of one class each"),
        ({"gate": {"cleaning": "tomek"}}, "gate.cleaning=tomek is for rows of one class each"),
    ],
)
def test_settings_of_classes_are_refused_before_a_model_is_loaded(given, said):
    smotext = sampler(**{"gate": {}, **given})
    with pytest.raises(ValueError, match=said):
        smotext.fit_resample(TEXTS, SETS)
    assert smotext.decoder.points == []


@pytest.mark.parametrize("strategy", [ASKED, BY_NUMBER])
def test_a_dataset_with_lists_of_named_labels(strategy):
    feature = datasets.Sequence(datasets.ClassLabel(names=NAMES))
    features = datasets.Features({"text": datasets.Value("string"), "label": feature})
    rows = {"text": TEXTS, "label": [[NAMES.index(n) for n in labels] for labels in SETS]}
    data = datasets.Dataset.from_dict(rows, features=features)
    more = augment_split(data, sampler(k_neighbors=3, sampling_strategy=strategy))
    assert more.features == data.features and more[:60] == data[:60]
    for name, number in ASKED.items():
        assert sum(NAMES.index(name) in labels for labels in more["label"]) >= number
