"""From ``noised/`` to ``embeddings/``: every row released once, and no text on the way."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smotext_ray.config.schema import EncoderConfig, PrivacyConfig, RunConfig
from smotext_ray.errors import UserError
from smotext_ray.pipeline.denoise import denoise
from smotext_ray.privacy.directions import principal_directions, read_directions, write_directions
from smotext_ray.privacy.mechanism import noise_scale
from smotext_ray.privacy.release import Release, check_input
from smotext_ray.run.directory import NOISED, Run
from smotext_ray.tables import fixed_size_list, matrix

D, K = 6, 3
LABELS = ["grain", "ship"]


@pytest.fixture
def config(tmp_path):
    public = np.random.default_rng(3).normal(size=(200, D)).astype(np.float32)
    file = tmp_path / "public.safetensors"
    write_directions(principal_directions([public]), file, EncoderConfig(), "abc")
    privacy = PrivacyConfig(epsilon=8.0, clip_norm=2.0, dimensions=K, directions=str(file))
    return RunConfig(privacy=privacy)


def table(rows):
    return pa.table(
        {
            "id": np.arange(rows),
            "text": [f"secret {i}" for i in range(rows)],
            "label": [LABELS[i % 2] for i in range(rows)],
        }
    )


def noised_run(directory, files):
    """A run whose ``noised/`` holds these ids."""
    run = Run(str(directory / "run"))
    random = np.random.default_rng(0)
    for number, ids in enumerate(files):
        content = {
            "id": np.array(ids, np.int64),
            "label": pa.array([LABELS[i % 2] for i in ids], pa.string()),
            "embedding": fixed_size_list(random.normal(size=(len(ids), K)) + 5),
        }
        pq.write_table(pa.table(content), f"{run.make(NOISED)}/{number}.parquet")
    return run


def test_what_is_released_is_no_text_and_no_embedding(config):
    embeddings = np.random.default_rng(0).normal(size=(4000, D)).astype(np.float32)
    released = Release(config)(table(4000), embeddings)
    assert released.column_names == ["id", "label", "embedding"]
    rows = matrix(released["embedding"])
    assert rows.shape == (4000, K)
    coordinates = read_directions(config.privacy).coordinates(embeddings)
    lengths = np.linalg.norm(coordinates, axis=1, keepdims=True)
    noise = rows - coordinates * np.minimum(1, 2.0 / lengths)
    assert noise.std(0) == pytest.approx(noise_scale(config.privacy), rel=0.06)


def test_a_second_release_of_the_same_rows_is_another_one(config):
    embeddings = np.zeros((3, D), np.float32)
    release = Release(config)
    first, second = (matrix(release(table(3), embeddings)["embedding"]) for _ in range(2))
    assert (first != second).all()


def test_embeddings_are_as_wide_as_the_encoder_s_and_one_a_row(config, tmp_path):
    run = noised_run(tmp_path, [[0, 1, 2], [], [3, 4, 5, 6]])
    denoise(config, run, LABELS, 7)
    written = run.table("embeddings").to_table().sort_by("id")
    assert written.column_names == ["id", "label", "embedding"]
    assert written["id"].to_pylist() == list(range(7))
    assert written["label"].to_pylist() == [LABELS[i % 2] for i in range(7)]
    assert written.schema.field("embedding").type == pa.list_(pa.float32(), D)
    # In the public directions, and nearer to their mean than the noised rows were.
    directions = read_directions(config.privacy)
    rows = matrix(written["embedding"])
    inside = directions.lift(directions.coordinates(rows))
    np.testing.assert_allclose(inside, rows, atol=1e-5)
    assert np.linalg.norm(rows - directions.mean, axis=1).max() < 5


def test_what_a_killed_stage_left_is_replaced(config, tmp_path):
    run = noised_run(tmp_path, [[0, 1]])
    pq.write_table(pa.table({"text": ["left"]}), f"{run.make('embeddings')}/part-00007.parquet")
    denoise(config, run, LABELS, 2)
    assert run.table("embeddings").count_rows() == 2


@pytest.mark.parametrize("ids", [[[0, 1, 2], [2]], [[0, 1]], [[0, 1], [1]]])
def test_a_row_released_twice_or_never_stops_the_run(config, tmp_path, ids):
    run = noised_run(tmp_path, ids)
    with pytest.raises(RuntimeError, match="released once"):
        denoise(config, run, LABELS, 3)
    assert not run.has("embeddings")


def test_ids_of_the_user_are_refused():
    config = RunConfig.model_validate({"input": {"id_column": "patient"}})
    with pytest.raises(UserError, match="omit --id-column"):
        check_input(config, 10)


def test_a_delta_that_allows_a_row_to_be_given_away_is_refused():
    config = RunConfig(privacy=PrivacyConfig(epsilon=1.0, delta=1e-3))
    check_input(config, 999)
    with pytest.raises(UserError, match=r"privacy\.delta is 0\.001 for 1000 rows"):
        check_input(config, 1000)
