"""Points between texts: the nearest of the texts decoded there, and trainings on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_models import HIDDEN
from tiny_training import TEXTS, curve, last_state, quiet

from smotext_ray.api import loaded
from smotext_ray.cli.main import main
from smotext_ray.errors import UserError
from smotext_ray.models.encoder import Encoder
from smotext_ray.models.engine import Candidates
from smotext_ray.plan.vectors import unit
from smotext_ray.training.embeddings import Embeddings, GivenEmbeddings
from smotext_ray.training.frozen import FrozenModels
from smotext_ray.training.held_out import held_out_loss
from smotext_ray.training.points import Pairs, make_points, neighbor_pairs, read_pairs, write_points
from smotext_ray.training.steps import take_step
from smotext_ray.training.train import train


@pytest.fixture(scope="module")
def encoder(config):
    return Encoder(config.encoder, device="cpu")


class Copier:
    """Decodes each point to the same texts, which ended in these ways."""

    def __init__(self, texts: list[str], reasons: list[str]) -> None:
        self.texts, self.reasons, self.points, self.lengths = texts, reasons, [], []

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]

    def decode(self, points, seeds, lengths):
        self.points.append(points)
        self.lengths += list(lengths)
        assert len(seeds) == len(points) == len(lengths)
        numbers = [len(text.split()) for text in self.texts]
        return [Candidates(self.texts, self.reasons, numbers) for _ in points]


def test_the_nearest_whole_text_of_each_point_is_kept(encoder):
    texts = ["corn0 corn1", "ship0", "bank0 bank1", "gold0", " "]
    decoder = Copier(texts, ["stop", "stop", "stop", "length", "stop"])
    (made,) = make_points(TEXTS, encoder, decoder, seed=0, log=quiet)
    points = np.concatenate(decoder.points)
    assert len(made) == len(points) == len(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-5)
    near = points @ unit(encoder.encode(texts[:3])).T
    assert made["text"].to_pylist() == [texts[i] for i in near.argmax(1)]
    np.testing.assert_allclose(made["cosine"], near.max(1), atol=1e-5)
    assert len(set(made["text"].to_pylist())) > 1
    stored = made["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, HIDDEN)
    assert np.array_equal(stored, points)


def test_points_are_between_a_text_and_a_neighbor(encoder):
    decoder = Copier(["corn0"], ["stop"])
    list(make_points(TEXTS, encoder, decoder, seed=0, log=quiet))
    x, points = unit(encoder.encode(TEXTS)), np.concatenate(decoder.points)
    # On the arc between two unit vectors the cosines to both have angles that add up to theirs.
    between = [
        min(
            abs(np.arccos(np.clip(p @ x[a], -1, 1)) + np.arccos(np.clip(p @ b, -1, 1)) - angle)
            for b in x
            for angle in [np.arccos(np.clip(x[a] @ b, -1, 1))]
        )
        for a, p in enumerate(points)
    ]
    assert max(between) < 2e-3


def test_the_length_at_a_point_is_between_those_of_its_texts(encoder):
    texts = ["corn0 corn1", "ship0 ship1 ship2 bank0 bank1 bank2"]
    decoder = Copier(["corn0"], ["stop"])
    list(make_points(texts, encoder, decoder, seed=0, log=quiet))
    weights = np.linalg.lstsq(unit(encoder.encode(texts)).T, decoder.points[0].T, rcond=None)[0]
    of_short, of_long = weights / weights.sum(0)
    np.testing.assert_allclose(decoder.lengths, 2 * of_short + 6 * of_long, rtol=1e-3)
    assert 2 < min(decoder.lengths) < max(decoder.lengths) < 6


def test_points_without_a_whole_text_are_left_out(encoder, tmp_path):
    made = make_points(TEXTS, encoder, Copier(["corn0"], ["length"]), seed=0, log=quiet)
    assert write_points(made, tmp_path / "points.parquet") == 0
    with pytest.raises(UserError, match="needs rows with a text and an embedding"):
        read_pairs(str(tmp_path / "points.parquet"))


def test_equal_texts_have_no_points(encoder):
    with pytest.raises(UserError, match="No text has a neighbor"):
        list(make_points(["corn0"] * 4, encoder, Copier(["corn0"], ["stop"]), seed=0, log=quiet))


def test_neighbors_are_of_the_same_owner(encoder):
    x = unit(encoder.encode(TEXTS[:20]))
    owners = np.arange(20) % 3
    pairs = neighbor_pairs(TEXTS[:20], owners, x, np.random.default_rng(0))
    assert len(pairs) and (owners[pairs[:, 0]] == owners[pairs[:, 1]]).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_written_points_are_read(encoder, tmp_path):
    file = tmp_path / "points.parquet"
    rows = write_points(
        make_points(TEXTS, encoder, Copier(["corn0"], ["stop"]), seed=0, log=quiet), file
    )
    pairs = read_pairs(str(file))
    assert pairs.texts == ["corn0"] * rows and pairs.embeddings.shape == (rows, HIDDEN)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": ["a"]}, "has no column 'embedding'"),
        ({"text": ["a", None], "embedding": [[1.0], [2.0]]}, "needs rows with a text"),
        ({"text": ["a", "b"], "embedding": [[1.0], [2.0, 3.0, 4.0]]}, "needs rows with a text"),
        ({"text": ["a"], "embedding": [[float("nan")]]}, "needs rows with a text"),
        ({"text": ["a"], "embedding": ["b"]}, "needs rows with a text"),
    ],
)
def test_other_files_are_refused(columns, said, tmp_path):
    file = tmp_path / "points.parquet"
    pq.write_table(pa.table(columns), file)
    with pytest.raises(UserError, match=said):
        read_pairs(str(file))
    with pytest.raises(UserError, match="cannot be read as parquet"):
        read_pairs(str(tmp_path))


@pytest.fixture
def pairs(encoder):
    """Texts at the embeddings of others, which no training on texts alone would learn."""
    return Pairs([f"gold7 {text.split()[0]}" for text in TEXTS[:40]], encoder.encode(TEXTS[40:]))


def test_a_training_learns_from_the_pairs_too_and_resumes(config, pairs, tmp_path):
    settings = replace(config, steps=40)
    for name, given in (("without", None), ("with", pairs)):
        train(TEXTS, settings, tmp_path / name, pairs=given, log=quiet)
    assert curve(tmp_path / "with") != curve(tmp_path / "without")
    train(TEXTS, replace(settings, steps=20), tmp_path / "in two", pairs=pairs, log=quiet)
    train(TEXTS, settings, tmp_path / "in two", pairs=pairs, log=quiet)
    assert curve(tmp_path / "in two") == curve(tmp_path / "with")
    others = Pairs(pairs.texts, pairs.embeddings[::-1].copy())
    with pytest.raises(UserError, match="other texts"):
        train(TEXTS, settings, tmp_path / "with", pairs=others, log=quiet)
    texts = [last_state(tmp_path / name)["identity"]["texts"] for name in ("with", "without")]
    assert len(texts[1]) == 64 and texts[0] != texts[1]


def test_pairs_are_held_out_instead_of_texts(config, pairs, tmp_path, monkeypatch):
    judged, trained = set(), set()

    def judge(bridge, objective, rows, *more):
        judged.update(rows)
        return held_out_loss(bridge, objective, rows, *more)

    def step(state, batches, *more):
        trained.update(np.concatenate(batches))
        return take_step(state, batches, *more)

    monkeypatch.setattr("smotext_ray.training.train.held_out_loss", judge)
    monkeypatch.setattr("smotext_ray.training.train.take_step", step)
    train(TEXTS, replace(config, steps=40), tmp_path / "bridge", pairs=pairs, log=quiet)
    assert len(judged) == len(pairs.texts) // 10 and min(judged) >= len(TEXTS)
    assert trained == set(range(len(TEXTS) + len(pairs.texts))) - judged


def test_a_held_out_file_and_tasks_are_refused_with_pairs(config, pairs, tmp_path):
    with pytest.raises(UserError, match="leave out the held-out file"):
        train(TEXTS, config, tmp_path / "bridge", held_out=TEXTS, pairs=pairs, log=quiet)
    with pytest.raises(UserError, match="are for stage 1"):
        train(TEXTS, replace(config, stage=2), tmp_path / "bridge", pairs=pairs, log=quiet)


def test_pairs_of_another_width_are_refused(config, tmp_path):
    pairs = Pairs(["corn0"] * 3, np.ones((3, HIDDEN + 1), np.float32))
    with pytest.raises(UserError, match=f"have {HIDDEN + 1} numbers, but the encoder's have"):
        train(TEXTS, config, tmp_path / "bridge", pairs=pairs, log=quiet)


def test_given_embeddings_come_after_the_computed_ones(config, pairs, tmp_path):
    frozen = FrozenModels(config)
    computed = Embeddings(TEXTS, frozen, tmp_path)
    both = GivenEmbeddings(pairs.embeddings, computed)
    rows = np.array([85, 2, 80, 79])
    both.prepare(rows)
    both.flush()
    assert len(both) == 120
    assert np.array_equal(both[rows][[0, 2]], pairs.embeddings[[5, 0]])
    assert np.array_equal(both[rows][[1, 3]], Embeddings(TEXTS, frozen, tmp_path)[rows[[1, 3]]])


def test_texts_to_points_to_a_bridge(config, trained, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(loaded, "encoder_of", lambda _: encoder)
    monkeypatch.setattr(loaded, "decoder_of", lambda _: Copier(["corn0", "ship0"], ["stop"] * 2))
    texts, points = tmp_path / "texts.txt", tmp_path / "points.parquet"
    texts.write_text("\n".join(TEXTS))
    models = [f"encoder.model={config.encoder}", f"decoder.model={config.llm}"]
    start = ["bridge", "points", f"--input={texts}", f"--bridge={trained[1]}", *models]
    assert main([*start, f"--output={points}", "--rows=30"]) == 0
    assert set(pq.read_table(points)["text"].to_pylist()) == {"corn0", "ship0"}
    learn = ["train-bridge", f"--input={texts}", f"--points={points}", f"--from={trained[1]}"]
    learn += [f"--encoder={config.encoder}", f"--llm={config.llm}", "--held-out=4", "--steps=1"]
    assert main([*learn, "--max-text-tokens=6", f"--output={tmp_path / 'bridge'}"]) == 0
    assert (tmp_path / "bridge/bridge.safetensors").exists()
