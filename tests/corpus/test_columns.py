"""The columns, labels and ids of an input keep their types, or are refused."""

import numpy as np
import pyarrow as pa
import pytest
from surveyed import GOOD, jsonl, refused, stage, write

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus import blocks, csv_files, tally
from smotext_ray.corpus import survey as survey_module
from smotext_ray.corpus.staging import original_columns
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.tables import RESERVED

# Columns


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_missing_column(tmp_path, kind):
    config = write(tmp_path / f"c.{kind}", GOOD)
    for role in ("text_column", "label_column", "id_column"):
        message = refused(config.model_copy(update={role: "body"}))
        assert "no column 'body'" in message and "(text, label)" in message


def test_one_column_for_two_roles(tmp_path):
    config = write(tmp_path / "c.parquet", GOOD)
    for roles in ({"label_column": "text"}, {"id_column": "text"}, {"id_column": "label"}):
        assert "must be different" in refused(config.model_copy(update=roles))


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_columns(tmp_path, name):
    message = refused(write(tmp_path / "c.parquet", {**GOOD, name: [1, 2, 3, 4]}))
    assert repr(name) in message and "rename" in message


def test_files_that_disagree_about_a_type(tmp_path):
    write(tmp_path / "a.parquet", {**GOOD, "x": [1, 2, 3, 4]})
    write(tmp_path / "b.parquet", {**GOOD, "x": ["1", "2", "3", "4"]})
    message = refused(InputConfig(path=str(tmp_path)))
    assert "'x'" in message and "int64" in message and "string" in message


def test_files_that_agree_after_widening(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    names = pa.array(["a", "b", "a", "b"])
    write(source / "a.parquet", {**GOOD, "x": pa.array([1, 2, 3, 4], pa.int32()), "y": names})
    write(source / "b.parquet", {**GOOD, "y": names.dictionary_encode(), "x": [0.5, 1, 2, None]})
    write(source / "c.parquet", GOOD)
    config = InputConfig(path=str(source))
    survey, staged = stage(config, tmp_path / "staged")
    assert survey.schema.names == ["text", "label", "x", "y"]
    assert survey.schema.types[2:] == [pa.float64(), pa.string()]
    assert staged["extra.x"].to_pylist() == [1, 2, 3, 4, 0.5, 1, 2, None] + [None] * 4
    assert staged["extra.y"].to_pylist() == ["a", "b", "a", "b"] * 2 + [None] * 4


def test_a_column_that_parquet_cannot_hold(tmp_path):
    rows = [{"text": "a", "label": "x", "meta": {}}, {"text": "b", "label": "y", "meta": {}}]
    assert "'meta'" in refused(jsonl(tmp_path / "c.jsonl", rows))


# Labels


@pytest.mark.parametrize(
    ("kind", "labels", "expected"),
    [
        (pa.int8(), [1, 2, 1, 1], pa.int8()),
        (pa.uint64(), [1, 2, 1, 1], pa.uint64()),
        (pa.bool_(), [True, False, True, True], pa.bool_()),
        (pa.float32(), [1.0, 2.0, 1.0, 1.0], pa.int64()),
        (pa.large_string(), ["a", "b", "a", "a"], pa.string()),
        (pa.string_view(), ["a", "b", "a", "a"], pa.string()),
        (pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a", "a"], pa.string()),
        (pa.dictionary(pa.int8(), pa.int64()), [1, 2, 1, 1], pa.int64()),
    ],
)
def test_labels_keep_their_type(tmp_path, kind, labels, expected):
    column = pa.array(labels)
    if pa.types.is_dictionary(kind):
        column = column.dictionary_encode()
    table = pa.table({**GOOD, "label": column.cast(kind)})
    config = write(tmp_path / "c.parquet", table)
    survey, staged = stage(config, tmp_path / "staged")
    if expected != pa.int64():  # parquet gives back dictionaries of strings only
        assert survey.schema.field("label").type == kind
    assert survey.class_counts == {labels[0]: 3, labels[1]: 1}
    assert type(next(iter(survey.class_counts))) is not float
    assert staged["label"].type == expected
    assert staged["label"].to_pylist() == labels
    back = original_columns(staged, config, survey.schema)
    assert back.to_pylist() == table.to_pylist()
    assert back.schema == survey.schema


def test_dictionary_texts(tmp_path):
    table = pa.table({**GOOD, "text": pa.array(GOOD["text"]).dictionary_encode()})
    config = write(tmp_path / "c.parquet", table)
    survey, staged = stage(config, tmp_path / "staged")
    assert staged["text"].type == pa.string()
    assert original_columns(staged, config, survey.schema).equals(table)


def test_a_dictionary_of_numbers_comes_back():
    schema = pa.schema({"text": pa.string(), "label": pa.dictionary(pa.int8(), pa.int64())})
    staged = pa.table({"id": [0, 1], "text": ["a", "b"], "label": [5, 7]})
    back = original_columns(staged, InputConfig(), schema)
    assert back.schema == schema
    assert back["label"].to_pylist() == [5, 7]


@pytest.mark.parametrize(
    ("cells", "kind", "labels"),
    [
        (["1", "2", "1", "-1"], pa.int64(), [1, 2, 1, -1]),
        (["1", "02", "1", "1"], pa.string(), ["1", "02", "1", "1"]),
        (["1", "2", "1", "b"], pa.string(), ["1", "2", "1", "b"]),
        (["1.5", "2", "1", "1"], pa.string(), ["1.5", "2", "1", "1"]),
        (["True", "False", "True", "True"], pa.bool_(), [True, False, True, True]),
        (["True", "false", "TRUE", "true"], pa.string(), ["True", "false", "TRUE", "true"]),
        (["NA", "null", "NA", "NaN"], pa.string(), ["NA", "null", "NA", "NaN"]),
    ],
)
def test_csv_labels_are_typed_by_all_of_the_input(tmp_path, monkeypatch, cells, kind, labels):
    monkeypatch.setattr(csv_files, "CSV_BLOCK_BYTES", 16)  # a block a row
    config = write(tmp_path / "c.csv", {**GOOD, "label": cells})
    survey, staged = stage(config, tmp_path / "staged")
    assert staged["label"].type == kind
    assert staged["label"].to_pylist() == labels
    assert survey.class_counts == {label: labels.count(label) for label in labels}
    assert list(survey.class_counts) == sorted(set(labels), key=str)


def test_other_csv_columns_lose_nothing(tmp_path):
    extra = {
        "count": ["1", "", "-3", "4"],
        "price": ["1.5", "2.0", "", "1e-05"],
        "section": ["3.10", "3.2", "", "3.3"],
        "mixed": ["1", "2.5", "3", "4"],
        "zip": ["01234", "99999", "5", "6"],
        "tweet": ["1234567890123456789", "1", "2", "3"],
        "hash": ["12e5", "1", "2", "3"],
        "none": ["", "", "", ""],
    }
    config = write(tmp_path / "c.csv", {**GOOD, **extra})
    survey, staged = stage(config, tmp_path / "staged")
    row = original_columns(staged, config, survey.schema).to_pylist()[0]
    assert row == {
        "text": "one",
        "label": "a",
        "count": 1,
        "price": 1.5,
        "section": "3.10",
        "mixed": "1",
        "zip": "01234",
        "tweet": "1234567890123456789",
        "hash": "12e5",
        "none": None,
    }
    assert staged["extra.none"].type == pa.string()
    assert staged["extra.count"].to_pylist() == [1, None, -3, 4]
    assert staged["extra.price"].to_pylist() == [1.5, 2, None, 1e-05]


@pytest.mark.parametrize(
    "labels", [[0.5, 1.0, 2.0, 2.0], [1.0, float("inf"), 2.0, 2.0], [{"a": 1}] * 4]
)
def test_labels_that_name_no_class(tmp_path, labels):
    message = refused(write(tmp_path / "c.parquet", {**GOOD, "label": labels}))
    assert "labels must be strings, integers or true/false" in message


def test_json_labels_of_two_types(tmp_path):
    for labels in (["1", 1], [True, 1]):
        rows = [{"text": "a", "label": label} for label in labels]
        assert "'label'" in refused(jsonl(tmp_path / "c.jsonl", rows))


def test_json_labels_of_two_types_in_two_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 1)
    rows = [{"text": "a", "label": "1"}, {"text": "b", "label": 1}]
    message = refused(jsonl(tmp_path / "c.jsonl", rows))
    assert "'label'" in message and "int64" in message and "string" in message


def test_json_blocks_with_other_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 1)
    rows = [
        {"text": "a", "label": 1, "m": {"x": 1}},
        {"text": "b", "label": 2.0, "n": [1.5]},
        {"label": 2, "text": "c", "m": {"y": "z"}},
    ]
    config = jsonl(tmp_path / "c.jsonl", rows)
    survey, staged = stage(config, tmp_path / "staged")
    assert survey.class_counts == {1.0: 1, 2.0: 2}
    assert staged["label"].type == pa.int64()
    assert survey.schema.field("label").type == pa.float64()
    assert staged["extra.m"].to_pylist() == [{"x": 1, "y": None}, None, {"x": None, "y": "z"}]
    assert staged["extra.n"].to_pylist() == [None, [1.5], None]


# Ids


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("ids", [[7, -1, 3, 0], ["w", "x", "y", "z"], ["1", "01", "1.0", "x"]])
def test_an_id_column_is_kept(tmp_path, kind, ids):
    table = pa.table({"key": ids, **GOOD})
    config = write(tmp_path / f"c.{kind}", table).model_copy(update={"id_column": "key"})
    survey, staged = stage(config, tmp_path / "staged")
    assert staged.column_names == ["id", "text", "label"]
    assert staged["id"].to_pylist() == ids
    assert original_columns(staged, config, survey.schema).equals(table)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("ids", [[7, 1, 7, 0], ["w", "x", "y", "x"]])
def test_an_id_that_comes_twice(tmp_path, kind, ids, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 2)
    config = write(tmp_path / f"c.{kind}", {"key": ids, **GOOD})
    message = refused(config.model_copy(update={"id_column": "key"}))
    assert "has duplicates of" in message and ("7" if ids[0] == 7 else "'x'") in message


def test_ids_with_equal_hashes_are_not_equal_ids(tmp_path, monkeypatch):
    for module in (survey_module, tally):
        monkeypatch.setattr(module, "id_hashes", lambda ids: np.zeros(len(ids), np.int64))
    config = write(tmp_path / "c.parquet", {"key": ["w", "x", "y", "z"], **GOOD})
    assert survey_corpus(config.model_copy(update={"id_column": "key"})).rows == 4


def test_an_id_that_is_null(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 2)
    for kind in ("parquet", "csv", "jsonl"):
        config = write(tmp_path / f"c.{kind}", {"key": [7, 1, 5, None], **GOOD})
        assert "null in row 3" in refused(config.model_copy(update={"id_column": "key"}))


def test_ids_of_other_types(tmp_path):
    for ids in ([0.5, 1.5, 2.5, 3.5], [[1], [2], [3], [4]]):
        config = write(tmp_path / "c.parquet", {"key": ids, **GOOD})
        message = refused(config.model_copy(update={"id_column": "key"}))
        assert "ids must be integers or strings" in message
    ids = pa.array([1, 2, 3, 2**64 - 1], pa.uint64())
    config = write(tmp_path / "c.parquet", {"key": ids, **GOOD})
    assert "64 bits" in refused(config.model_copy(update={"id_column": "key"}))
