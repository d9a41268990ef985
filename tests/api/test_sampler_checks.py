"""imbalanced-learn's estimator checks (imblearn.utils.estimator_checks), for texts."""

from __future__ import annotations

import warnings
from collections import Counter

import datasets
import numpy as np
import pandas as pd
import pytest
from given_sampler import rows, sampler
from imblearn.over_sampling import SMOTE
from sklearn.cluster import KMeans


def test_check_target_type():
    texts, _ = rows()
    with pytest.raises(ValueError, match="Unknown label type"):
        sampler().fit_resample(texts, np.linspace(0, 1, len(texts)))
    several = np.random.default_rng(0).integers(3, size=(len(texts), 3))
    with pytest.raises(ValueError, match="other than 0 and 1"):
        sampler().fit_resample(texts, several)


def test_check_samplers_one_label():
    with pytest.raises(ValueError, match="needs to have more than 1 class"):
        sampler().fit_resample(["a", "b"], [1, 1])


def test_check_samplers_fit():
    smotext = sampler()
    assert not hasattr(smotext, "sampling_strategy_")
    assert smotext.fit(*rows()) is smotext
    assert smotext.sampling_strategy_ == {"rare": 12}
    assert smotext.decoder.points == []


@pytest.mark.parametrize(
    ("strategy", "rare", "middle"),
    [
        ("auto", 20, 20),
        ("minority", 20, 12),
        ("not majority", 20, 20),
        ("not minority", 8, 20),
        ("all", 20, 20),
        ({"rare": 9, "middle": 15}, 9, 15),
        (lambda y: {"rare": 10}, 10, 12),
    ],
)
def test_check_samplers_sampling_strategy_fit_resample(strategy, rare, middle):
    texts, labels = rows()
    texts, labels = texts + [f"middle {i}" for i in range(12)], labels + ["middle"] * 12
    _, y_new = sampler(sampling_strategy=strategy).fit_resample(texts, labels)
    assert Counter(y_new) == {"rare": rare, "middle": middle, "common": 20}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = SMOTE(sampling_strategy=strategy, k_neighbors=1)
        _, y_smote = expected.fit_resample(np.arange(len(labels))[:, None], labels)
    assert Counter(y_smote) == Counter(y_new)


def test_check_samplers_sampling_strategy_ratio_and_what_does_not_fit():
    _, y_new = sampler(sampling_strategy=0.5).fit_resample(*rows())
    assert Counter(y_new)["rare"] == 10
    for strategy in ({"rare": 3}, {"other": 30}, 0.1, "often"):
        with pytest.raises(ValueError):
            sampler(sampling_strategy=strategy).fit_resample(*rows())


def test_nothing_to_do():
    texts, labels = rows(minority=20)
    smotext = sampler()
    assert smotext.fit_resample(texts, labels) == (texts, labels)
    assert len(smotext.lineage_) == 0 and "lam" in smotext.lineage_.columns
    assert (smotext.sample_weight_ == 1).all()


def test_check_samplers_multiclass_ova():
    texts, labels = rows()
    texts, labels = texts + [f"middle {i}" for i in range(12)], labels + ["middle"] * 12
    classes = sorted(set(labels))
    one_hot = np.array([[label == c for c in classes] for label in labels], int)
    _, y_flat = sampler().fit_resample(texts, labels)
    _, y_ova = sampler().fit_resample(texts, one_hot)
    assert y_ova.shape == (60, 3)
    assert Counter(y_ova.argmax(1)) == {classes.index(c): n for c, n in Counter(y_flat).items()}


@pytest.mark.parametrize("labels", [[0, 1], [True, False], ["a", "b"], [-1.0, 1.0]], ids=str)
def test_check_samplers_preserve_dtype(labels):
    texts, names = rows()
    y = np.array([labels[name == "common"] for name in names])
    x_new, y_new = sampler().fit_resample(np.array(texts), y)
    assert y_new.dtype == y.dtype and x_new.dtype.kind == "U"
    assert Counter(y_new.tolist()) == {labels[0]: 20, labels[1]: 20}


def test_check_samplers_2d_target():
    texts, labels = rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn: a column-vector y was passed
        _, y_new = sampler().fit_resample(texts, pd.DataFrame({"label": labels}))
    assert y_new.shape == (40, 1) and list(y_new.columns) == ["label"]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"k_neighbors": 0}, "at least 1"),
        ({"k_neighbors": "five"}, "a number, or an object"),
        ({"k_neighbors": KMeans()}, "a number, or an object"),
        ({"variant": "smotenc"}, "variant"),
        ({"m_neighbors": 0}, "m_neighbors"),
        ({"neighbors_per_point": 0}, "neighbors_per_point"),
        ({"on_ray": "sometimes"}, "on_ray"),
        ({"random_state": "seed"}, "random_state"),
        ({"gate": {"min_cosin": 0.3}}, "min_cosin"),
        ({"on_ray": True}, "encoder and decoder must be settings"),
        ({"adapt_minutes": 1.0}, "To adapt the bridge, encoder and decoder must be settings"),
        ({"adapt_minutes": -1.0}, "adapt_minutes"),
    ],
    ids=str,
)
def test_check_param_validation(given, match):
    with pytest.raises(ValueError, match=match):
        sampler(**given).fit_resample(*rows())


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (["a", "b", None, "d"], "Row 2 of X is of type NoneType"),
        (["a", " ", "c", "d"], "Row 1 of X is empty"),
        (["a", "b"], "2 texts and 4 labels"),
        (np.array([["a", "b"]] * 4), r"shape \(n,\) or \(n, 1\)"),
        (pd.DataFrame({"body": ["a"] * 4}), "text_column is 'text', but the DataFrame has"),
        (datasets.Dataset.from_dict({"body": ["a"] * 4}), "but the dataset has the columns body"),
    ],
    ids=["none", "empty", "lengths", "wide", "frame", "dataset"],
)
def test_texts_that_are_none(x, match):
    with pytest.raises(ValueError, match=match):
        sampler().fit_resample(x, ["r", "r", "c", "c"])


def test_something_that_holds_no_texts():
    with pytest.raises(TypeError, match="not set"):
        sampler().fit_resample({"a", "b"}, [0, 1])
