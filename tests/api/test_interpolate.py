"""Texts between two texts, and of a table of embeddings, with models that load nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_stages import Encoder

import smotext_ray
from smotext_ray.api import interpolate as module
from smotext_ray.api import vectors
from smotext_ray.cli.main import main
from smotext_ray.config.load import load_config
from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import read_bridge_config
from smotext_ray.models.engine import Candidates
from smotext_ray.models.files import bridge_directory
from smotext_ray.tables import fixed_size_list

WIDTH = read_bridge_config(bridge_directory("default")).encoder_dim
WORDS = ["where is my card", "i lost my phone", "the train is late", "two tickets please"]


class Unit:
    """Embeddings of length 1, as wide as the default bridge reads them."""

    def encode(self, texts, batch_size=0):
        x = np.repeat(Encoder().encode(list(texts)), WIDTH // Encoder.dim + 1, axis=1)[:, :WIDTH]
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


class Decoder:
    """All of the words for each point, the first of them for none; remembers the points."""

    def __init__(self):
        self.points, self.seeds, self.lengths = [], [], []

    def count_tokens(self, texts):
        return np.array([len(text) for text in texts])

    def decode(self, points, seeds, lengths=None, examples=None):
        self.points.extend(points)
        self.lengths.extend([] if lengths is None else lengths)
        self.seeds.extend(seeds)
        return [Candidates([f" {w} " for w in WORDS], ["stop"] * 4, [3] * 4) for _ in points]


@pytest.fixture
def decoder(monkeypatch):
    made = Decoder()
    monkeypatch.setattr(module, "encoder_of", lambda config: Unit())
    monkeypatch.setattr(module, "decoder_of", lambda config: made)
    return made


def test_the_ends_are_the_texts_and_the_points_lie_between_them(decoder):
    a, b = WORDS[:2]
    made = smotext_ray.interpolate(f" {a} ", f" {b} ", [0, 0.25, 1], random_state=7)
    assert list(made.columns) == ["lam", "text", "cosine_to_point"]
    assert made["lam"].tolist() == [0, 0.25, 1] and decoder.seeds == [7, 8, 9]
    assert made["text"].tolist() == [a, a, b]
    ends = len(f" {a} "), len(f" {b} ")
    np.testing.assert_allclose(
        decoder.lengths, ends[0] + np.array([0, 0.25, 1]) * (ends[1] - ends[0])
    )
    np.testing.assert_allclose(made["cosine_to_point"][[0, 2]], 1, atol=1e-5)
    ends = Unit().encode([f" {a} ", f" {b} "])
    between = ends[0] + 0.25 * (ends[1] - ends[0])
    np.testing.assert_allclose(decoder.points[1], between / np.linalg.norm(between), atol=1e-6)
    assert made["cosine_to_point"][1] == pytest.approx(float(decoder.points[1] @ ends[0]), abs=1e-5)


def test_a_point_without_a_text_is_a_row_without_one(decoder, monkeypatch):
    def decode(points, seeds, lengths, examples):
        return [Candidates([], [], [], "spoilt"), Candidates([WORDS[0]], ["stop"], [3])]

    monkeypatch.setattr(decoder, "decode", decode)
    made = smotext_ray.interpolate(*WORDS[:2], lams=[0, 1])
    assert made["text"].tolist() == [None, WORDS[0]]
    assert made["cosine_to_point"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((" ", "b"), "not empty"),
        (("a", "b", []), "at least one position"),
        (("a", "b", [float("nan")]), "finite"),
    ],
)
def test_what_cannot_be_interpolated(decoder, given, sentence):
    with pytest.raises(UserError, match=sentence):
        smotext_ray.interpolate(*given)


def test_the_command_prints_a_line_a_point(decoder, capsys, own_log):
    assert main(["interpolate", *(f" {w} " for w in WORDS[2:]), "--lam", "0", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert WORDS[2] in lines[-2] and "1.00" in lines[-2] and WORDS[3] in lines[-1]
    assert main(["interpolate", "a", ""]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def write(path, column):
    pq.write_table(pa.table({"embedding": column}), path)
    return str(path)


def test_a_table_of_embeddings_is_decoded_in_its_order(decoder, tmp_path, monkeypatch, own_log):
    monkeypatch.setattr(vectors, "BLOCK", 3)
    order = [0, 3, 2, 1, 0]
    x = 4 * Unit().encode([f" {WORDS[i]} " for i in order])  # of any length
    file = write(tmp_path / "x.parquet", fixed_size_list(x))
    output = tmp_path / "texts.parquet"
    assert main(["bridge", "decode", file, "--output", str(output), "--seed", "2"]) == 0
    made = pq.read_table(output)
    assert made["text"].to_pylist() == [WORDS[i] for i in order]
    assert made["row"].to_pylist() == list(range(5)) and decoder.seeds == [2, 3, 4, 5, 6]
    np.testing.assert_allclose(made["cosine_to_vector"].to_numpy(), 1, atol=1e-5)
    as_lists = write(tmp_path / "lists.parquet", pa.array(x.tolist(), pa.list_(pa.float64())))
    again = pa.concat_tables(vectors.decode_vectors(as_lists, "embedding", load_config()))
    assert again["text"].to_pylist() == made["text"].to_pylist()


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (
            fixed_size_list(np.ones((2, 3), np.float32)),
            f"3 numbers, but the bridge reads {WIDTH}",
        ),
        (fixed_size_list(np.zeros((1, WIDTH), np.float32)), "Row 0 is no embedding"),
        (fixed_size_list(np.full((1, WIDTH), np.nan, np.float32)), "Row 0 is no embedding"),
        (pa.array(["text"]), "of type string"),
        (pa.array([[1.0, 2.0], [1.0]]), "differ in length"),
        (pa.array([None, [1.0]], pa.list_(pa.float32())), "missing"),
        (pa.array([], pa.list_(pa.float32())), "no rows"),
    ],
    ids=["width", "zero", "nan", "text", "ragged", "null", "empty"],
)
def test_no_embeddings_are_refused_and_nothing_is_written(
    decoder, tmp_path, column, sentence, capsys, own_log
):
    file, output = write(tmp_path / "x.parquet", column), tmp_path / "texts.parquet"
    assert main(["bridge", "decode", file, "--output", str(output)]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and not output.exists()
    assert main(["bridge", "decode", file, "--column", "x", "--output", str(output)]) == 2
    assert "no column 'x'" in capsys.readouterr().err
