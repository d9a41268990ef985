"""The sampler's parameters: each is checked in fit, before a model is loaded."""

import pytest

from smotext_ray import SMOTExT
from smotext_ray.api.neighbors import neighbors_object
from smotext_ray.api.settings import config_of

TEXTS = ["a", "b", "c", "d", " a"]
LABELS = ["x", "y", "y", "y", "x"]


def config(**given):
    sampler = SMOTExT(random_state=0, **given)
    sampler.nn_k_ = neighbors_object(sampler.k_neighbors, sampler.metric)
    return config_of(sampler)


def test_models_are_named_by_strings():
    made = config(encoder="BAAI/bge-small-en-v1.5", decoder="Qwen/Qwen2.5-0.5B-Instruct")
    assert made.encoder.model == "BAAI/bge-small-en-v1.5"
    assert made.decoder.model == "Qwen/Qwen2.5-0.5B-Instruct"


def test_other_settings():
    made = config(max_rounds=5, metric="euclidean", options={"encoder.max_length": 256})
    assert made.plan.max_rounds == 5
    assert made.neighbors.metric == "euclidean"
    assert made.encoder.max_length == 256


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"gate": {"min_cosin": 0.1}}, "Did you mean 'min_cosine'"),
        ({"decoder": {"temperature": -1}}, "decoder.temperature is invalid"),
        ({"options": {"encoder.batchsize": 3}}, "encoder.batchsize"),
        ({"metric": "l1"}, "metric"),
        ({"max_rounds": 0}, "max_rounds"),
        ({}, 'on_singleton_class="skip"'),  # "a" and " a" are one text
    ],
)
def test_fit_checks_each_of_them(given, part):
    with pytest.raises(ValueError, match=part):
        SMOTExT(**given).fit(TEXTS, LABELS)


def test_a_singleton_class_may_be_skipped():
    SMOTExT(on_singleton_class="skip").fit(TEXTS, LABELS)
