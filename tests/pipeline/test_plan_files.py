"""A plan file is made once, whole, and always of the same bytes."""

from __future__ import annotations

import hashlib

import pyarrow.parquet as pq
import pytest
from handmade_run import build, config_for, corpus_table

from smotext_ray.pipeline.plan_files import PlanWriter, group_item
from smotext_ray.plan.shards import Shard, shards
from smotext_ray.run.directory import Run
from smotext_ray.tables import plan_schema

TWO_CLASSES = [Shard(1, "grain", 0, 5, 0), Shard(1, "ship", 0, 3, 5)]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    directory = tmp_path_factory.mktemp("plan")
    run = build(directory, {}, until="embed")
    return run, config_for(directory / "corpus.parquet")


@pytest.fixture
def run(embedded):
    embedded[0].clear("plan")
    return embedded[0]


@pytest.fixture
def config(embedded):
    return embedded[1]


def read(run, file):
    with run.fs.open_input_file(run.at("plan", file)) as stream:
        return pq.read_table(stream)


def test_a_group_of_two_classes_is_one_file(run, config):
    item = group_item(1, 0, TWO_CLASSES)
    assert item["file"] == "round-1/part-00000.parquet"
    digest, rows = PlanWriter(run, config)(**item)
    table = read(run, item["file"])
    assert rows == len(table) == 8
    assert digest == hashlib.sha256(run.read("plan", item["file"])).hexdigest()
    assert table["sample_id"].to_pylist() == list(range(8))
    assert table["label"].to_pylist() == ["grain"] * 5 + ["ship"] * 3
    corpus = run.table("corpus").to_table().to_pylist()
    of = {row["id"]: row for row in corpus}
    for row in table.to_pylist():
        for parent in ("source", "neighbor"):
            assert of[row[f"{parent}_id"]]["label"] == row["label"]
            assert of[row[f"{parent}_id"]]["text"] == row[f"{parent}_text"]
    schema = run.table("embeddings").schema
    dim = schema.field("embedding").type.list_size
    kinds = plan_schema(schema.field("id").type, schema.field("label").type, dim)
    assert table.schema.equals(kinds)


def test_the_same_group_gives_the_same_bytes(run, config):
    item = group_item(1, 0, TWO_CLASSES)
    first = PlanWriter(run, config)(**item)
    content = run.read("plan", item["file"])
    run.clear("plan")
    assert PlanWriter(Run(run.uri), config)(**item) == first
    assert run.read("plan", item["file"]) == content


def test_a_file_that_is_there_is_not_made_again(run, config):
    item = group_item(1, 0, TWO_CLASSES)
    other = group_item(1, 0, TWO_CLASSES[:1])
    first = PlanWriter(run, config)(**other)
    assert PlanWriter(run, config)(**item) == first
    assert first[1] == 5


def test_groups_put_together_are_the_whole_plan(run, config):
    wanted = {"grain": 7, "ship": 4}
    (whole,) = shards(wanted, 1, 0, 100)
    PlanWriter(run, config)(**group_item(1, 99, whole))
    expected = read(run, "round-1/part-00099.parquet")
    run.clear("plan")
    groups = shards(wanted, 1, 0, 3)
    assert len(groups) > 3
    write = PlanWriter(run, config)  # which remembers neighbours
    for number, group in enumerate(groups):
        write(**group_item(1, number, group))
    got = run.table("plan", "round-1").to_table().sort_by("sample_id")
    assert got.equals(expected)


def test_labels_that_are_numbers(tmp_path):
    corpus = corpus_table(label_of={"grain": 7, "ship": 3})
    run = build(tmp_path, {}, until="embed", corpus=corpus)
    item = group_item(2, 3, [Shard(2, 7, 0, 4, 0)])
    _, rows = PlanWriter(run, config_for(tmp_path / "corpus.parquet"))(**item)
    assert rows == 4
    assert set(read(run, "round-2/part-00003.parquet")["label"].to_pylist()) == {7}
