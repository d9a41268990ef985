"""The training split gets new texts; the others are not even read."""

from __future__ import annotations

from collections import Counter

import datasets
import pytest
from datasets import ClassLabel, Features, Value
from given_sampler import rows, sampler

from smotext_ray import augment_split

FEATURES = Features(
    {"body": Value("string"), "topic": ClassLabel(names=["rare", "common"]), "page": Value("int8")}
)


def split(**counts):
    texts, labels = rows(**counts)
    columns = {"body": texts, "topic": labels, "page": [1] * len(texts)}
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def smotext(**given):
    return sampler(text_column="body", **given)


def test_new_rows_are_behind_the_split_and_the_others_untouched():
    data = datasets.DatasetDict({"train": split(), "test": split(minority=3, majority=5)})
    made = augment_split(data, smotext(), label_column="topic")
    assert isinstance(made, datasets.DatasetDict) and list(made) == ["train", "test"]
    assert made["test"] is data["test"]
    train = made["train"]
    assert train.features == FEATURES and train[:28] == data["train"][:28]
    assert Counter(train["topic"]) == {0: 20, 1: 20} and set(train["topic"][28:]) == {0}
    assert all(text.startswith("new text") for text in train["body"][28:])
    assert train["page"][28:] == [None] * 12
    assert len(data["train"]) == 28  # the user's own is left as it was


def test_a_dataset_is_the_split_itself():
    one = smotext(sampling_strategy={0: 10})
    made = augment_split(split(), one, label_column="topic")
    assert isinstance(made, datasets.Dataset) and len(made) == 30
    assert one.lineage_["row"].tolist() == [28, 29]


def test_a_strategy_may_name_the_classes():
    one = smotext(sampling_strategy={"rare": 10})
    made = augment_split(split(), one, label_column="topic")
    assert made.features == FEATURES and made["topic"][28:] == [0, 0]
    with pytest.raises(ValueError, match="'other'"):
        augment_split(split(), smotext(sampling_strategy={"other": 10}), label_column="topic")


def test_where_nothing_is_lacking_nothing_is_added():
    data = split(minority=6, majority=6)
    made = augment_split(data, smotext(), label_column="topic")
    assert made.to_dict() == data.to_dict()


def test_labels_that_are_texts_stay_texts():
    data = split().cast_column("topic", Value("string"))
    data = data.remove_columns("topic").add_column("topic", rows()[1])
    made = augment_split(data, smotext(), label_column="topic")
    assert Counter(made["topic"]) == {"rare": 20, "common": 20}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"split": "training"}, "Unknown split 'training'; choose from train, test"),
        ({"label_column": "label"}, "Unknown column 'label'; choose from body, topic, page"),
    ],
)
def test_what_is_not_there_is_told(given, told):
    data = datasets.DatasetDict({"train": split(), "test": split()})
    with pytest.raises(ValueError, match=told):
        augment_split(data, smotext(), **{"label_column": "topic"} | given)
    with pytest.raises(ValueError, match="Unknown column 'text'"):
        augment_split(data, sampler(), label_column="topic")


def test_the_sampler_names_the_way_for_several_splits():
    data = datasets.DatasetDict({"train": split()})
    with pytest.raises(TypeError, match=r"smotext_ray\.augment_split"):
        smotext().fit_resample(data, [0])
