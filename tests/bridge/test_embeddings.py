"""Embeddings on disk: those of the encoder, made once, and again where they are damaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_training import TEXTS, quiet, tiny_config

from smotext_ray.bridge import embeddings as module
from smotext_ray.bridge.embeddings import embed_once
from smotext_ray.bridge.frozen import FrozenModels
from smotext_ray.bridge.workers import Workers
from smotext_ray.encoder import Encoder


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> FrozenModels:
    return FrozenModels(tiny_config(tmp_path_factory.mktemp("models")))


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    """The 80 texts fill three files."""
    monkeypatch.setattr(module, "ROWS_A_FILE", 30)


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


def embed(frozen, directory, texts=TEXTS, workers=None, log=quiet):
    return embed_once(texts, frozen, directory, workers or Workers(), log)


def files(directory) -> list:
    return sorted(directory.glob("embeddings-*/*.npy"))


def test_rows_are_the_encoders_in_any_order(frozen, tmp_path):
    found = embed(frozen, tmp_path)
    rows = np.random.default_rng(0).permutation(80)[:50]
    expected = frozen.encoder.encode([TEXTS[row] for row in rows])
    assert len(found) == 80
    np.testing.assert_allclose(found[rows], expected, atol=1e-6)
    assert found[rows].dtype == np.float32


def test_they_are_computed_once_and_each_file_is_told(frozen, tmp_path, encoded):
    lines = []
    first = embed(frozen, tmp_path, log=lines.append)
    assert encoded == [30, 30, 20]
    assert lines == [f"embedded {done} of 80 texts" for done in (30, 60, 80)]
    again = embed(frozen, tmp_path, log=lines.append)
    assert encoded == [30, 30, 20] and len(lines) == 3
    assert np.array_equal(first[np.arange(80)], again[np.arange(80)])


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None])
def test_a_missing_or_damaged_file_is_made_again(frozen, tmp_path, encoded, damage):
    before = embed(frozen, tmp_path)[np.arange(80)]
    second = files(tmp_path)[1]
    whole = second.read_bytes()
    second.write_bytes(whole[:-4] if damage is None else damage)
    after = embed(frozen, tmp_path)[np.arange(80)]
    assert encoded == [30, 30, 20, 30]
    assert np.array_equal(before, after) and second.read_bytes() == whole


def test_an_interrupted_embedding_goes_on_and_ends_the_same(frozen, tmp_path, encoded):
    def kill(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(frozen, tmp_path / "killed", log=kill)
    embed(frozen, tmp_path / "killed")
    embed(frozen, tmp_path / "whole")
    assert encoded == [30, 30, 20] * 2
    for one, other in zip(files(tmp_path / "killed"), files(tmp_path / "whole"), strict=True):
        assert one.name == other.name and one.read_bytes() == other.read_bytes()


class OneOfTwo(Workers):
    def __init__(self, rank):
        self.count, self.rank = 2, rank

    def wait(self):
        """The other one is not there."""


def test_two_workers_make_the_same_files_between_them(frozen, tmp_path, encoded):
    with pytest.raises(OSError, match=r"00001\.npy was written but cannot be read"):
        embed(frozen, tmp_path / "two", workers=OneOfTwo(0))
    assert encoded == [30, 20]
    embed(frozen, tmp_path / "two", workers=OneOfTwo(1))
    assert encoded == [30, 20, 30]
    embed(frozen, tmp_path / "one")
    for one, other in zip(files(tmp_path / "two"), files(tmp_path / "one"), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_other_texts_and_other_use_of_the_encoder_have_other_files(frozen, tmp_path, monkeypatch):
    embed(frozen, tmp_path)
    embed(frozen, tmp_path, texts=TEXTS[::-1])
    for change in ({"pooling": "cls"}, {"normalize": False}, {"max_length": 3}):
        with monkeypatch.context() as patched:
            patched.setattr(frozen, "config", replace(frozen.config, **change))
            embed(frozen, tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
    assert len(files(tmp_path)) == 15


def test_very_many_texts_are_no_very_many_files(frozen, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_FILES", 2)
    assert len(embed(frozen, tmp_path)) == 80
    assert len(files(tmp_path)) == 2
