"""Embeddings on disk: the encoder's, computed when asked for, once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_training import TEXTS, tiny_config

from smotext_ray.models.encoder import Encoder
from smotext_ray.training.embeddings import Embeddings
from smotext_ray.training.frozen import FrozenModels


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> FrozenModels:
    return FrozenModels(tiny_config(tmp_path_factory.mktemp("models")))


@pytest.fixture
def encoded(monkeypatch) -> list[int]:
    """Numbers of texts that were encoded, call by call."""
    calls: list[int] = []
    plain = Encoder.encode

    def encode(self, texts, **options):
        calls.append(len(texts))
        return plain(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode", encode)
    return calls


def files(directory) -> list:
    return sorted(directory.glob("embeddings-*/*"))


ALL = np.arange(80)


def test_rows_are_the_encoders_in_any_order(frozen, tmp_path):
    found = Embeddings(TEXTS, frozen, tmp_path)
    rows = np.random.default_rng(0).permutation(80)[:50]
    expected = frozen.encoder.encode([TEXTS[row] for row in rows])
    assert len(found) == 80
    for _ in range(2):  # computed, then from disk
        np.testing.assert_allclose(found[rows], expected, atol=2e-3)
        assert found[rows].dtype == np.float32
        found.flush()
    assert found[rows[:0]].shape == (0, frozen.encoder_dim)


def test_only_what_is_asked_for_is_computed_and_only_once(frozen, tmp_path, encoded):
    first = Embeddings(TEXTS, frozen, tmp_path)
    assert encoded == []
    before = first[np.array([3, 1, 4])]
    first.prepare(np.array([1, 5]))
    assert encoded == [3, 1] and files(tmp_path) == []
    assert np.array_equal(first[np.array([3, 1, 4])], before)
    first.flush()
    first.flush()
    assert len(files(tmp_path)) == 1
    again = Embeddings(TEXTS, frozen, tmp_path)
    assert np.array_equal(again[np.array([3, 1, 4])], before)
    assert encoded == [3, 1]
    again.prepare(ALL)
    assert encoded == [3, 1, 76]


def test_what_another_worker_has_written_is_not_computed(frozen, tmp_path, encoded):
    one, other = (Embeddings(TEXTS, frozen, tmp_path) for _ in range(2))
    found = one[ALL[:40]]
    one.flush()
    assert np.array_equal(other[ALL[:40]], found) and encoded == [40]
    other.prepare(ALL)
    other.flush()
    assert encoded == [40, 40]
    assert np.array_equal(one[ALL], other[ALL]) and encoded == [40, 40]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None])
def test_what_a_damaged_file_held_is_computed_again(frozen, tmp_path, encoded, damage):
    found = Embeddings(TEXTS, frozen, tmp_path)
    before = found[ALL]
    found.flush()
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:-4] if damage is None else damage)
    again = Embeddings(TEXTS, frozen, tmp_path)
    assert np.array_equal(again[ALL], before) and encoded == [80, 80]


def test_a_kill_while_a_file_is_written_leaves_none(frozen, tmp_path, monkeypatch):
    def die(handle, *_, **__):
        handle.write(b"half")
        raise KeyboardInterrupt

    found = Embeddings(TEXTS, frozen, tmp_path)
    before = found[ALL]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(np, "save", die)
        found.flush()
    assert np.array_equal(Embeddings(TEXTS, frozen, tmp_path)[ALL], before)


def test_the_encoder_is_let_go_of_when_nothing_is_left(frozen, tmp_path):
    found = Embeddings(TEXTS, frozen, tmp_path)
    found.prepare(ALL[:79])
    found.flush()
    assert found._encoder is not None
    found.prepare(ALL)
    found.flush()
    assert found._encoder is None


def test_other_texts_and_other_use_of_the_encoder_have_other_files(frozen, tmp_path, monkeypatch):
    Embeddings(TEXTS, frozen, tmp_path)
    Embeddings(TEXTS[::-1], frozen, tmp_path)
    for change in ({"pooling": "cls"}, {"normalize": False}, {"max_length": 3}):
        with monkeypatch.context() as patched:
            patched.setattr(frozen, "config", replace(frozen.config, **change))
            Embeddings(TEXTS, frozen, tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
