"""A plan file is made once, whole, and always of the same bytes."""

from __future__ import annotations

import hashlib
import re

import pyarrow.parquet as pq
import pytest
from handmade_run import build, changed, config_for, corpus_table

from smotext_ray.pipeline.plan_files import PlanWriter, group_item, plan_source
from smotext_ray.plan.shards import Shard, shards
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
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
    assert re.fullmatch(r"round-1/part-00000-[0-9a-f]{12}\.parquet", item["file"])
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
    first = PlanWriter(run, config)(**item)
    written = run.fs.get_file_info(run.at("plan", item["file"])).mtime_ns
    assert PlanWriter(run, config)(**item) == first
    assert run.fs.get_file_info(run.at("plan", item["file"])).mtime_ns == written


def test_a_file_of_another_plan_is_not_taken_for_this_one(run, config):
    item, other = group_item(1, 0, TWO_CLASSES), group_item(1, 0, TWO_CLASSES[:1])
    assert PlanWriter(run, config)(**other)[1] == 5
    assert PlanWriter(run, config)(**item)[1] == 8
    manifest = Manifest.read(run)
    sources = {plan_source(config, manifest)}
    for section, values in {
        "plan": {"seed": 9},
        "neighbors": {"k_neighbors": 2},
        "privacy": {"clip_norm": 0.25},
    }.items():
        sources.add(plan_source(changed(config, **{section: values}), manifest))
    manifest.input.class_counts = {"grain": 5, "ship": 6}
    sources.add(plan_source(config, manifest))
    assert len(sources) == 5
    assert plan_source(changed(config, plan={"max_rounds": 9}), manifest) in sources
    names = {group_item(1, 0, TWO_CLASSES, source)["file"] for source in sources}
    assert len(names) == 5


@pytest.mark.parametrize("left", [b"", b"PAR1 and then nothing"])
def test_a_file_that_a_power_failure_has_torn_is_made_again(run, config, left):
    item = group_item(1, 0, TWO_CLASSES)
    first = PlanWriter(run, config)(**item)
    run.write(left, "plan", item["file"])
    assert PlanWriter(run, config)(**item) == first
    assert len(read(run, item["file"])) == 8


def test_groups_put_together_are_the_whole_plan(run, config):
    wanted = {"grain": 7, "ship": 4}
    (whole,) = shards(wanted, 1, 0, 100)
    item = group_item(1, 99, whole)
    PlanWriter(run, config)(**item)
    expected = read(run, item["file"])
    run.clear("plan")
    groups = shards(wanted, 1, 0, 3)
    assert len(groups) > 3
    write = PlanWriter(run, config)  # which remembers neighbors
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
    assert set(read(run, item["file"])["label"].to_pylist()) == {7}
