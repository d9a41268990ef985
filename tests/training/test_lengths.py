"""Tokens of texts: counted as the tokenizer does, once."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_training import TEXTS, tiny_config

from smotext_ray.training import lengths as module
from smotext_ray.training.frozen import FrozenModels
from smotext_ray.training.lengths import count_tokens


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> FrozenModels:
    return FrozenModels(tiny_config(tmp_path_factory.mktemp("models")))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "TEXTS_AT_ONCE", 30)
    monkeypatch.setattr(module, "WORTH_A_FILE", 50)


def test_they_are_the_tokenizers(frozen):
    words = [len(text.split()) for text in TEXTS]
    assert count_tokens(TEXTS, frozen).tolist() == words
    assert count_tokens([], frozen).shape == (0,)


def test_many_are_counted_once_and_again_where_the_file_is_damaged(frozen, tmp_path, monkeypatch):
    counts = count_tokens(TEXTS, frozen, tmp_path)
    (file,) = tmp_path.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(frozen, "tokenizer", None)
        assert np.array_equal(count_tokens(TEXTS, frozen, tmp_path), counts)
        with pytest.raises(TypeError):
            count_tokens(TEXTS[::-1], frozen, tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    assert np.array_equal(count_tokens(TEXTS, frozen, tmp_path), counts)
    assert list(tmp_path.iterdir()) == [file]


def test_few_are_not_worth_a_file(frozen, tmp_path):
    count_tokens(TEXTS[:49], frozen, tmp_path)
    assert list(tmp_path.iterdir()) == []
