"""Points between texts: the nearest and the farthest of the texts decoded there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_models import HIDDEN
from tiny_training import TEXTS, quiet

from smotext_ray.errors import UserError
from smotext_ray.models.encoder import Encoder
from smotext_ray.models.engine import Candidates
from smotext_ray.models.style import SIZE, style_of
from smotext_ray.plan.vectors import unit
from smotext_ray.tables import matrix
from smotext_ray.training.points import (
    LEAST_GAP,
    make_points,
    neighbor_pairs,
    read_preferences,
    write_points,
)


@pytest.fixture(scope="module")
def encoder(config):
    return Encoder(config.encoder, device="cpu")


class Copier:
    """Decodes each point to the same texts, which ended in these ways."""

    def __init__(self, texts: list[str], reasons: list[str]) -> None:
        self.texts, self.reasons = texts, reasons
        self.points, self.lengths, self.examples = [], [], []

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]

    def decode(self, points, seeds, lengths, examples):
        self.points.append(points)
        self.lengths += list(lengths)
        self.examples += examples
        assert len(seeds) == len(points) == len(lengths) == len(examples)
        numbers = [len(text.split()) for text in self.texts]
        return [Candidates(self.texts, self.reasons, numbers) for _ in points]


def test_the_nearest_and_the_farthest_whole_text_of_each_point_are_kept(encoder):
    texts = ["corn0 corn1", "ship0", "bank0 bank1", "gold0", " "]
    decoder = Copier(texts, ["stop", "stop", "stop", "length", "stop"])
    (made,) = make_points(TEXTS, encoder, decoder, seed=0, log=quiet)
    points = np.concatenate(decoder.points)
    assert len(points) == len(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-5)
    cosines = points @ unit(encoder.encode(texts[:3])).T
    clear = np.ptp(cosines, axis=1) >= LEAST_GAP
    assert 0 < clear.sum() < len(points)
    points, cosines = points[clear], cosines[clear]
    for name, cosine, rows, found in (
        ("text", "cosine", cosines.argmax(1), cosines.max(1)),
        ("rejected", "rejected_cosine", cosines.argmin(1), cosines.min(1)),
    ):
        assert made[name].to_pylist() == [texts[i] for i in rows]
        np.testing.assert_allclose(made[cosine], found, atol=1e-5)
        assert len(set(rows)) > 1
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


def test_texts_should_look_like_their_main_parent(encoder):
    texts = ["corn0 corn1", "SHIP0 SHIP1, SHIP2"]
    decoder = Copier(["corn0", "gold0 gold1 gold2"], ["stop"] * 2)
    (made,) = make_points(texts, encoder, decoder, seed=0, log=quiet)
    near = np.concatenate(decoder.points) @ unit(encoder.encode(texts)).T
    assert decoder.examples == [texts[i] for i in near.argmax(1)]
    kept = [decoder.points[0].tolist().index(point) for point in made["embedding"].to_pylist()]
    expected = style_of(decoder.examples, decoder.lengths)[kept]
    np.testing.assert_array_equal(matrix(made["style"]), expected)


@pytest.mark.parametrize(
    ("texts", "reasons"),
    [(["corn0", "ship0"], ["length"] * 2), (["corn0"], ["stop"]), (["corn0"] * 2, ["stop"] * 2)],
)
def test_points_without_two_unlike_whole_texts_are_left_out(texts, reasons, encoder, tmp_path):
    made = make_points(TEXTS, encoder, Copier(texts, reasons), seed=0, log=quiet)
    assert write_points(made, tmp_path / "points.parquet") == 0
    with pytest.raises(UserError, match="needs rows with two texts, an embedding"):
        read_preferences(str(tmp_path / "points.parquet"))


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
    file, decoder = tmp_path / "points.parquet", Copier(["corn0", "ship0"], ["stop"] * 2)
    rows = write_points(make_points(TEXTS, encoder, decoder, seed=0, log=quiet), file)
    read = read_preferences(str(file))
    assert len(read) == rows > 0
    for one in read:
        near = unit(encoder.encode([one.chosen, one.rejected])) @ one.point
        assert near[0] - near[1] >= LEAST_GAP - 1e-5


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"rejected": None}, "has no column 'rejected'"),
        ({"style": None}, "has no column 'style'"),
        ({"text": ["a", None]}, "two texts"),
        ({"rejected": ["c", " "]}, "two texts"),
        ({"embedding": [[1.0], [2.0, 3.0]]}, "of one length"),
        ({"embedding": [[float("nan")], [1.0]]}, "finite numbers"),
        ({"embedding": ["b", "b"]}, "needs rows"),
        ({"style": [[0.0], [0.0]]}, "needs rows"),
        ({"style": [[float("inf")] * SIZE] * 2}, "finite numbers"),
    ],
)
def test_other_files_are_refused(columns, said, tmp_path):
    file = tmp_path / "points.parquet"
    sound = {"text": ["a", "b"], "rejected": ["c", "d"]}
    sound |= {"embedding": [[1.0], [2.0]], "style": [[0.0] * SIZE] * 2}
    pq.write_table(pa.table({k: v for k, v in (sound | columns).items() if v is not None}), file)
    with pytest.raises(UserError, match=said):
        read_preferences(str(file))
    with pytest.raises(UserError, match="cannot be read as parquet"):
        read_preferences(str(tmp_path))
