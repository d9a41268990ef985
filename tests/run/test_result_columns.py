"""The result's columns: the input's own, unchanged, for pandas and datasets too."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_run import build, corpus_table

ROWS = 10


def result_of(directory, table):
    """The originals and the synthetic rows of a run of this corpus, and the whole file's path."""
    run = build(Path(directory), {"grain": 2}, corpus=table)
    path = run.at("augmented.parquet")
    written = pq.read_table(path)
    synthetic = written["synthetic"].to_numpy(zero_copy_only=False)
    return written.filter(pa.array(~synthetic)), written.filter(pa.array(synthetic)), path


def with_column(name, column, metadata=None):
    table = corpus_table().drop(["page"]).append_column(name, column)
    return table.replace_schema_metadata(metadata)


COLUMNS = {
    "integers": pa.array([2**63 - 1, -(2**63), *range(8)]),
    "unsigned": pa.array([2**64 - 1, *range(9)], pa.uint64()),
    "flags": pa.array([True, None] * 5),
    "decimals": pa.array([None, *range(9)]).cast(pa.decimal128(25, 3)),
    "views": pa.array([["a"], None] * 5, pa.list_view(pa.string_view())),
    "maps": pa.array([[("a", 1)], None] * 5, pa.map_(pa.string(), pa.int64())),
    "zoned": pa.array([None, *range(9)], pa.timestamp("ns", "Asia/Tokyo")),
    "uuids": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16] * 10, pa.binary(16))),
    "ordered": pa.DictionaryArray.from_arrays([1, 0] * 5, ["low", "high", "unused"], ordered=True),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_back_and_is_null_in_synthetic_rows(tmp_path, name):
    table = with_column(name, COLUMNS[name])
    own, synthetic, _ = result_of(tmp_path, table)
    assert own[name].type == table[name].type
    assert own[name].to_pylist() == table[name].to_pylist()
    assert synthetic[name].null_count == len(synthetic) == 2
    if name == "ordered":
        assert own[name].chunk(0).dictionary.to_pylist() == ["low", "high", "unused"]


def test_pandas_reads_integers_and_flags_unrounded(tmp_path):
    frame = corpus_table().to_pandas()
    frame["tweet"] = np.arange(ROWS) + 2**60 + 1
    frame["flag"] = [True, False] * 5
    frame["small"] = pd.array([1, None] * 5, "UInt8")
    frame["arrow"] = pd.array(range(ROWS), "int64[pyarrow]")
    frame["rank"] = pd.Categorical(["low", "high"] * 5, ["low", "high", "top"], ordered=True)
    frame["month"] = pd.period_range("2024-01", periods=ROWS, freq="M")
    frame["topic"] = pd.Categorical(frame.topic, ["ship", "grain"])
    frame.index = range(5, 15)
    table = pa.Table.from_pandas(frame)
    _, _, path = result_of(tmp_path, table)
    back = pd.read_parquet(path)
    own = back[~back.synthetic][frame.columns]
    dtypes = back.dtypes.astype(str).to_dict()
    assert {
        name: dtypes[name] for name in ("tweet", "flag", "small", "arrow", "rank", "month")
    } == {
        "tweet": "Int64",
        "flag": "boolean",
        "small": "UInt8",
        "arrow": "int64[pyarrow]",
        "rank": "category",
        "month": "period[M]",
    }
    assert dtypes["sample_id"] == dtypes["source_id"] == "Int64" and dtypes["synthetic"] == "bool"
    assert list(back["rank"].cat.categories) == ["low", "high", "top"] and back["rank"].cat.ordered
    assert list(back.topic.cat.categories) == ["ship", "grain"]
    for name in frame.columns:
        assert own[name].tolist() == frame[name].tolist() or name == "small"
    assert back[back.synthetic][["tweet", "flag", "month"]].isna().all(axis=None)


def test_pandas_reads_the_result_of_other_tools_unrounded(tmp_path):
    table = with_column("tweet", pa.array(range(2**60 + 1, 2**60 + 11)))
    _, _, path = result_of(tmp_path, table)
    back = pd.read_parquet(path)
    assert str(back.tweet.dtype) == "Int64"
    assert back.tweet[1] == 2**60 + 2


def test_an_index_of_texts_stays_one_and_of_integers_becomes_a_column(tmp_path):
    frame = corpus_table().to_pandas()
    for index, is_index in (
        (pd.Index([f"k{i}" for i in range(ROWS)], name="key"), True),
        (pd.Index(range(2**60, 2**60 + 20, 2), name="key"), False),
    ):
        table = pa.Table.from_pandas(frame.set_index(index), preserve_index=True)
        with tempfile.TemporaryDirectory() as directory:
            back = pd.read_parquet(result_of(directory, table)[2])
        assert (back.index.name == "key") is is_index
        found = back.index if is_index else back.key
        assert list(found[:ROWS]) == list(index)


def test_the_names_of_a_class_label_come_back(tmp_path):
    datasets = pytest.importorskip("datasets")
    table = corpus_table(label_of={"grain": 0, "ship": 1})
    features = datasets.Features(
        {
            "page": datasets.Value("int16"),
            "topic": datasets.ClassLabel(names=["grain", "ship"]),
            "body": datasets.Value("string"),
            "image": datasets.Array2D((2, 2), "float32"),
        }
    )
    rows = table.to_pydict() | {"image": [[[0.0, 1.0], [2.0, 3.0]]] * ROWS}
    given = datasets.Dataset.from_dict(rows, features=features)
    given.to_parquet(tmp_path / "given.parquet")
    run = build(tmp_path / "r", {0: 2}, corpus=pq.read_table(tmp_path / "given.parquet"))
    back = datasets.Dataset.from_parquet(run.at("augmented.parquet"), cache_dir=str(tmp_path / "c"))
    assert {name: back.features[name] for name in features} == dict(features)
    assert back[:ROWS]["topic"] == rows["topic"]
    assert np.allclose(back[0]["image"], rows["image"][0])


def test_tensors_of_ray_come_back(tmp_path):
    tensors = pytest.importorskip("ray.data.extensions")
    values = np.arange(ROWS * 4, dtype=np.int64).reshape(ROWS, 2, 2)
    table = with_column("tensor", tensors.ArrowTensorArray.from_numpy(values))
    own, synthetic, _ = result_of(tmp_path, table)
    assert own["tensor"].type == table["tensor"].type
    stored = own["tensor"].combine_chunks()
    assert (stored.to_numpy() == values).all()
    assert synthetic["tensor"].null_count == 2


def test_metadata_of_the_schema_comes_back(tmp_path):
    table = with_column("n", pa.array(range(ROWS)), {"made": "by hand"})
    field = table.schema.field("n").with_metadata({"unit": "rows"})
    table = table.cast(table.schema.set(2, field))
    own, _, _ = result_of(tmp_path, table)
    assert own.schema.metadata[b"made"] == b"by hand"
    assert own.schema.field("n").metadata[b"unit"] == b"rows"
    assert json.loads(own.schema.metadata[b"pandas"])["index_columns"] == []
