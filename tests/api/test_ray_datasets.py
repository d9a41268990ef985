"""Ray Data in, Ray Data out: the rows that were there, and what the stages add."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import ray
from fake_run import fakes_by_default
from fake_stages import Encoder
from given_sampler import rows
from ray.data import DataContext
from ray.data.checkpoint import CheckpointConfig
from ray.data.extensions import ArrowTensorArray

import smotext_ray
from smotext_ray.api import ray_data
from smotext_ray.errors import UserError
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify
from smotext_ray.tables import matrix

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

ALL_PASS = {"gate.min_cosine": -1, "gate.same_class": False}


@pytest.fixture(scope="module", autouse=True)
def fakes(shared_ray):
    with fakes_by_default():
        yield


def labelled() -> ray.data.Dataset:
    texts, labels = rows()
    items = [
        {"body": text, "topic": label, "page": i}
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    return ray.data.from_items(items)


@pytest.fixture
def own_checkpoint(tmp_path):
    """Ray Data checkpoints what the caller reads and writes, by a column of the caller's."""
    path = str(tmp_path / "done")
    with DataContext.current(DataContext.get_current().copy()):
        config = CheckpointConfig(id_column="number", checkpoint_path=path)
        DataContext.get_current().checkpoint_config = config
        yield path


def test_new_texts_are_added_to_a_dataset(tmp_path, own_checkpoint):
    output = str(tmp_path / "run")
    given = {
        "text_column": "body",
        "label_column": "topic",
        "sampling_strategy": {"rare": 18},
        "options": ALL_PASS,
        "output": output,
    }
    given_rows = labelled()
    augmented = smotext_ray.augment(given_rows, **given).to_pandas()
    for context in (given_rows.context, DataContext.get_current()):
        assert context.checkpoint_config.checkpoint_path == own_checkpoint
    assert Counter(augmented["topic"]) == {"rare": 18, "common": 20}
    originals = augmented[~augmented["synthetic"]]
    assert sorted(originals["body"]) == sorted(rows()[0])
    assert sorted(originals["page"]) == list(range(28))
    new = augmented[augmented["synthetic"]]
    assert new["page"].isna().all() and new["lam"].between(0, 1).all()
    assert all(finding.ok for finding in verify(Run(output))), verify(Run(output))
    again = smotext_ray.augment(labelled(), **given).to_pandas()
    assert sorted(again["body"]) == sorted(augmented["body"])


def test_what_cleaning_would_remove_is_rejected(tmp_path):
    output = str(tmp_path / "run")
    as_many = {"plan.max_rounds": 1, "plan.expected_acceptance": 1.0}
    options = ALL_PASS | {"gate.cleaning": "enn"} | as_many
    smotext_ray.augment(
        labelled(),
        text_column="body",
        label_column="topic",
        sampling_strategy={"common": 30},
        options=options,
        output=output,
    )
    run = Run(output)
    samples = run.table("samples").to_table().to_pylist()
    # The fakes' vectors say nothing of the class: some texts of the larger one are among others.
    assert {row["reason"] for row in samples} == {"", "other_neighbors"}
    embedded = run.table("embeddings").to_table()
    mine = np.array(embedded["label"].to_pylist()) == "common"
    corpus = matrix(embedded["embedding"])
    corpus = corpus / np.linalg.norm(corpus, axis=1, keepdims=True)
    for row in samples:
        (x,) = Encoder().encode([row["text"]])
        nearest = np.argsort(-corpus @ x)[:3]
        assert mine[nearest].all() == (row["status"] == "accepted")
    lost = sum(row["status"] == "rejected" for row in samples)
    assert Manifest.read(run).shortfall == {"common": lost} and 0 < lost < len(samples) == 10


def test_wrong_columns_are_told():
    with pytest.raises(UserError, match="text"):
        smotext_ray.augment(labelled())


def test_stages_by_themselves(monkeypatch):
    monkeypatch.setattr(ray_data, "Embed", FakeEmbed)
    monkeypatch.setattr(ray_data, "Decode", FakeDecode)
    embedded = ray_data.embed(labelled(), text_column="body", num_cpus=0.5).take_all()
    assert len(embedded) == 28 and {len(row["embedding"]) for row in embedded} == {6}
    points = ray.data.from_items([{"point": [0.5] * 6, "seed": i, "k": i} for i in range(5)])
    decoded = ray_data.decode(points, concurrency=2).take_all()
    assert sorted((row["k"], *row["texts"]) for row in decoded) == [
        (i, f"new text {i}") for i in range(5)
    ]
    assert all(row["error"] == "" and np.sum(row["tokens"]) == 3 for row in decoded)


class FakeEmbed(ray_data.Embed):
    def __init__(self, config, text_column):
        from fake_stages import Encoder

        self._encoder, self._batch_size, self._text_column = Encoder(), 64, text_column


class FakeDecode(ray_data.Decode):
    def __init__(self, config):
        from given_sampler import Decoder

        self._decoder = Decoder()


def test_rows_of_any_columns_come_back_unchanged(tmp_path):
    texts, labels = rows()
    number = len(texts)
    table = pa.table(
        {
            "text": texts,
            "label": labels,
            "tweet": [2**60 + 1 + i for i in range(number)],
            "flag": [i % 3 == 0 if i % 5 else None for i in range(number)],
            "price": pa.array(range(number)).cast(pa.decimal128(25, 2)),
            "tags": pa.array([["a", None]] * number, pa.list_(pa.string())),
            "when": pa.array(range(number), pa.timestamp("us", "Asia/Tokyo")),
            "tensor": ArrowTensorArray.from_numpy(np.arange(4 * number).reshape(number, 2, 2)),
        }
    )
    # Neither the name of a directory nor its umlaut gets into the rows or in the way.
    output = str(tmp_path / "größe=1" / "run")
    augmented = smotext_ray.augment(
        ray.data.from_arrow(table),
        sampling_strategy={"rare": 10},
        options=ALL_PASS,
        output=output,
    )
    assert "größe" not in augmented.schema().names
    found = pq.read_table(Run(output).at("augmented.parquet"))
    own = found.filter(pc.invert(found["synthetic"])).sort_by("tweet")
    for name in table.column_names:
        assert own[name].type == table[name].type
        assert name == "tensor" or own[name].to_pylist() == table[name].to_pylist()
    assert (
        own["tensor"].combine_chunks().to_numpy() == np.arange(4 * number).reshape(-1, 2, 2)
    ).all()
    synthetic = found.filter(found["synthetic"])
    assert len(synthetic) == 2
    assert all(
        synthetic[n].null_count == 2 for n in table.column_names if n not in ("text", "label")
    )
