"""The result: originals as they were, then new rows with their lineage."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_run import build, corpus_table

from smotext_ray.run import result
from smotext_ray.run.directory import file_sha256
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.result import write_result
from smotext_ray.tables import RESULT_LINEAGE

WANTED = {"grain": 3, "ship": 1}  # sample ids 0 to 2 and 3; in a second round 4 to 6 and 7
ADDED = {
    "synthetic": pa.bool_(),
    "sample_id": pa.int64(),
    "source_id": pa.int64(),
    "neighbor_id": pa.int64(),
    "lam": pa.float32(),
    "round": pa.int32(),
    "cosine_to_point": pa.float32(),
    "sample_weight": pa.float32(),
}


def result_of(run):
    return run.table(Manifest.read(run).result.path).to_table()


def parts(run):
    """Original and new rows."""
    table = result_of(run)
    new = table["synthetic"].to_pylist()
    first = new.index(True) if True in new else len(new)
    assert new == [False] * first + [True] * (len(new) - first)
    return table.slice(0, first), table.slice(first)


def test_originals_come_first_as_they_were(tmp_path):
    corpus = corpus_table(5, 6)
    originals, _ = parts(build(tmp_path, WANTED, corpus=corpus))
    assert originals.select(corpus.column_names).equals(corpus)
    for name in RESULT_LINEAGE:
        assert originals[name].null_count == len(corpus)


def test_columns_and_types(tmp_path):
    corpus = corpus_table()
    table = result_of(build(tmp_path, WANTED, corpus=corpus))
    assert table.schema == pa.schema([*corpus.schema, *ADDED.items()])


def test_new_rows_have_text_label_and_lineage_and_nothing_else(tmp_path):
    run = build(tmp_path, WANTED)
    _, new = parts(run)
    plan = run.table("plan", "round-1").to_table().sort_by("sample_id").to_pylist()
    assert len(new) == len(plan) == 4
    for row, planned in zip(new.to_pylist(), plan, strict=True):
        assert row["page"] is None
        assert row["topic"] == planned["label"]
        assert row["body"] == f"new text {row['sample_id']} on {row['topic']}"
        for name in ("sample_id", "source_id", "neighbor_id", "lam", "round"):
            assert row[name] == planned[name]
        assert row["cosine_to_point"] == pytest.approx(0.5 + row["sample_id"] / 1000)


def test_new_rows_of_a_class_weigh_together_at_most_what_its_originals_do(tmp_path):
    wanted = {"grain": 8, "ship": 2}  # of 4 and 6 originals
    originals, new = parts(build(tmp_path, wanted))
    assert set(originals["sample_weight"].to_pylist()) == {1.0}
    of = {"grain": 0.5, "ship": 1.0}
    rows = new.select(["topic", "sample_weight"]).to_pylist()
    assert len(rows) == 10
    assert all(row["sample_weight"] == of[row["topic"]] for row in rows)


def test_the_weight_is_by_the_rows_that_there_are(tmp_path):
    run = build(tmp_path, {"grain": 8}, rejected={0: "empty", 1: "empty", 2: "empty"})
    _, new = parts(run)
    assert len(new) == 5 and set(new["sample_weight"].to_pylist()) == {np.float32(0.8)}


def test_at_most_the_wanted_number_by_rising_id_over_rounds(tmp_path):
    run = build(tmp_path, WANTED, rounds=2, rejected={1: "empty", 5: "truncated"})
    _, new = parts(run)
    assert new["sample_id"].to_pylist() == [0, 2, 3, 4]
    assert new["round"].to_pylist() == [1, 1, 1, 2]


def test_rejected_failed_and_repeated_samples_stay_out(tmp_path):
    run = build(
        tmp_path,
        {"grain": 5, "ship": 2},
        rejected={0: "empty"},
        errors=[1],
        text_of=lambda i, label: "the same" if i in (2, 3) else f"new text {i}",
    )
    _, new = parts(run)
    assert new["sample_id"].to_pylist() == [2, 4, 5, 6]


def test_a_class_that_was_not_asked_for_gets_nothing(tmp_path):
    run = build(tmp_path, WANTED)
    write_result(run, Manifest.read(run), {"ship": 1})
    _, new = parts(run)
    assert new["topic"].to_pylist() == ["ship"]


def test_what_is_told_of_the_result(tmp_path):
    run = build(tmp_path, WANTED)
    told = Manifest.read(run).result
    assert (told.path, told.rows, told.synthetic) == ("augmented.parquet", 14, 4)
    content = (tmp_path / "run" / "augmented.parquet").read_bytes()
    assert told.sha256 == {"augmented.parquet": hashlib.sha256(content).hexdigest()}
    assert file_sha256(run, "augmented.parquet") == told.sha256["augmented.parquet"]


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = build(tmp_path, WANTED)
    assert write_result(run, Manifest.read(run), WANTED) == Manifest.read(run).result


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([7, 3] * 4 + [3] * 2, pa.int16()),
        pa.array([7, 3] * 4 + [3] * 2, pa.uint32()),
        pa.array([True, False] * 4 + [False] * 2),
        pa.array(["x", "y"] * 4 + ["y"] * 2, pa.large_string()),
        pa.array(["x", "y"] * 4 + ["y"] * 2, pa.string_view()),
        pa.array(["x", "y"] * 4 + ["y"] * 2).dictionary_encode(),
        pa.array([7, 3] * 4 + [3] * 2).dictionary_encode(),
        pa.array(pd.Categorical(["x", "y"] * 4 + ["y"] * 2)),
    ],
    ids=lambda array: str(array.type),
)
def test_labels_of_any_type_come_back_in_it(tmp_path, labels):
    corpus = corpus_table().set_column(1, "topic", labels)
    x = labels[0].as_py()
    run = build(tmp_path, {x: 2}, corpus=corpus)
    originals, new = parts(run)
    assert originals["topic"].to_pylist() == labels.to_pylist()
    assert new["topic"].to_pylist() == [x, x]
    # Of some dictionaries pyarrow makes plain columns when it reads the input.
    assert new.schema.field("topic") == pq.read_schema(tmp_path / "corpus.parquet").field("topic")


@pytest.mark.parametrize(
    "extra",
    [
        pa.array([[1, 2], None] * 5, pa.list_(pa.int32())),
        pa.array([{"a": 1, "b": "x"}] * 10),
        pa.array(["u", "v"] * 5).dictionary_encode(),
        pa.array(np.arange(10), pa.timestamp("us", "UTC")),
        pa.nulls(10),
        pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}"] * 10)),
    ],
    ids=lambda array: str(array.type)[:20],
)
def test_extra_columns_of_any_type_come_back_in_it(tmp_path, extra):
    corpus = corpus_table().append_column("extra", extra)
    originals, new = parts(build(tmp_path, WANTED, corpus=corpus))
    assert originals["extra"].to_pylist() == extra.to_pylist()
    assert originals["extra"].type == extra.type
    assert new["extra"].null_count == len(new)


# Large results


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(result, "LARGE", 14)
    monkeypatch.setattr(result, "ROWS_PER_FILE", 6)


def test_a_large_result_is_a_directory_of_the_same_rows(tmp_path, monkeypatch):
    small = result_of(build(tmp_path / "small", WANTED))
    monkeypatch.setattr(result, "LARGE", 14)
    monkeypatch.setattr(result, "ROWS_PER_FILE", 6)
    run = build(tmp_path / "large", WANTED)
    told = Manifest.read(run).result
    assert (told.path, told.rows, told.synthetic) == ("augmented", 14, 4)
    assert list(told.sha256) == ["augmented/part-00000.parquet", "augmented/part-00001.parquet"]
    assert result_of(run).equals(small)
    assert not run.has("augmented.parquet")


def test_a_large_result_replaces_the_one_before(tmp_path, large):
    run = build(tmp_path, WANTED)
    (tmp_path / "run" / "augmented" / "part-00009.parquet").write_bytes(b"old")
    write_result(run, Manifest.read(run), WANTED)
    assert not run.has("augmented", "part-00009.parquet")


class Killed(Exception):
    pass


@pytest.mark.parametrize("size", ["one file", "directory"])
def test_a_killed_write_leaves_no_file_of_the_final_name(tmp_path, monkeypatch, size, request):
    if size == "directory":
        request.getfixturevalue("large")
    run = build(tmp_path, WANTED, until="decode")
    write = pq.ParquetWriter.write_table
    written = []

    def dies(self, table, *rest):
        written.append(table)
        if len(written) == 2:
            raise Killed
        write(self, table, *rest)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", dies)
    with pytest.raises(Killed):
        write_result(run, Manifest.read(run), WANTED)
    assert not list((tmp_path / "run").glob("augmented*/*.parquet"))
    assert not run.has("augmented.parquet")
    monkeypatch.setattr(pq.ParquetWriter, "write_table", write)
    assert write_result(run, Manifest.read(run), WANTED).rows == 14


def test_all_neighbors_of_a_mixture_are_named(tmp_path):
    corpus = corpus_table()
    run = build(tmp_path, WANTED, corpus=corpus, plan={"neighbors_per_point": 3})
    others = {
        "other_neighbor_ids": pa.list_(pa.int64()),
        "other_lams": pa.list_(pa.float32()),
    }
    added = [*ADDED.items()]
    wanted = pa.schema([*corpus.schema, *added[:5], *others.items(), *added[5:]])
    assert result_of(run).schema == wanted
    _, new = parts(run)
    plan = run.table("plan", "round-1").to_table().sort_by("sample_id")
    for name in others:
        assert new[name].to_pylist() == plan[name].to_pylist()
        assert all(len(value) == 2 for value in new[name].to_pylist())


def test_a_result_that_grew_into_a_directory_leaves_no_old_file(tmp_path, monkeypatch):
    run = build(tmp_path, WANTED)
    assert run.has("augmented.parquet")
    monkeypatch.setattr(result, "LARGE", 14)
    assert write_result(run, Manifest.read(run), WANTED).path == "augmented"
    assert run.has("augmented") and not run.has("augmented.parquet")
    monkeypatch.setattr(result, "LARGE", 15)
    assert write_result(run, Manifest.read(run), WANTED).path == "augmented.parquet"
    assert run.has("augmented.parquet") and not run.has("augmented")


@pytest.mark.parametrize("before", ["one file", "directory"])
def test_the_old_result_stays_until_the_new_one_is_whole(tmp_path, monkeypatch, before, request):
    if before == "directory":
        request.getfixturevalue("large")
    run = build(tmp_path, WANTED)
    old = result_of(run)

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="no space"):
        write_result(run, Manifest.read(run), WANTED)
    assert result_of(run).equals(old)  # and its directory has nothing that a reader stumbles over
