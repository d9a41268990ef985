import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus import blocks, csv_files
from smotext_ray.corpus import survey as survey_module
from smotext_ray.corpus.staging import original_columns, stage_corpus
from smotext_ray.corpus.survey import BadRows, survey_corpus
from smotext_ray.errors import UserError
from smotext_ray.tables import RESERVED

LOCAL = fs.LocalFileSystem()


def write(path, table):
    """A table as the file that the path's ending asks for."""
    table = table if isinstance(table, pa.Table) else pa.table(table)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    else:
        lines = [",".join(table.column_names)]
        for row in table.to_pylist():
            lines.append(",".join("" if cell is None else str(cell) for cell in row.values()))
        path.write_text("\n".join(lines) + "\n")
    return InputConfig(path=str(path))


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return InputConfig(path=str(path))


def stage(config, directory, **options):
    survey = survey_corpus(config)
    stage_corpus(config, survey, LOCAL, str(directory), **options)
    return survey, pq.read_table(directory)


def refused(config):
    with pytest.raises(UserError) as caught:
        survey_corpus(config)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


GOOD = {"text": ["one", "two ", "three", "four"], "label": ["a", "b", "a", "a"]}


# The survey


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_the_survey_counts(tmp_path, kind):
    survey = survey_corpus(write(tmp_path / f"c.{kind}", GOOD))
    assert survey.rows == 4
    assert survey.class_counts == {"a": 3, "b": 1}
    assert survey.bad_rows == {}
    assert survey.schema == pa.schema([("text", pa.string()), ("label", pa.string())])
    assert survey.mean_characters == (3 + 4 + 5 + 4) / 4


def test_classes_are_sorted_by_their_names(tmp_path):
    labels = [10, 9, 100, 9]
    survey = survey_corpus(write(tmp_path / "c.parquet", {**GOOD, "label": labels}))
    assert list(survey.class_counts.items()) == [(10, 1), (100, 1), (9, 2)]


def test_a_survey_spans_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 7)
    monkeypatch.setattr(csv_files, "CSV_BLOCK_BYTES", 64)
    table = pa.table(
        {
            "text": [None if i in (3, 50) else f"text {i}" for i in range(100)],
            "label": [str(i % 3) + "x" for i in range(100)],
        }
    )
    for kind in ("parquet", "csv", "jsonl"):
        config = write(tmp_path / f"c.{kind}", table).model_copy(update={"on_bad_row": "skip"})
        survey, staged = stage(config, tmp_path / kind, rows_per_file=30)
        reason = "text is empty" if kind == "csv" else "text is null"
        assert survey.bad_rows == {reason: BadRows(2, (3, 50))}
        assert survey.rows == staged.num_rows == 98
        assert survey.class_counts == {"0x": 33, "1x": 33, "2x": 32}
        assert staged["id"].to_pylist() == [i for i in range(100) if i not in (3, 50)]
        sizes = [pq.read_metadata(f).num_rows for f in sorted((tmp_path / kind).iterdir())]
        assert sizes == [30, 30, 30, 8]


# Bad rows

BAD = [
    {"text": "fine", "label": "a"},
    {"text": None, "label": "a"},
    {"text": " \n\t", "label": "b"},
    {"text": 5, "label": "b"},
    {"text": "no label", "label": None},
    {"text": "blank label", "label": " "},
    {"text": None, "label": None},
    {"text": ["a"], "label": "a"},
    {"label": "a"},
    {"text": "fine too", "label": "b"},
    {"text": "half \ud800", "label": "b"},
]


def test_bad_rows_stop_the_run_with_counts_and_ids(tmp_path):
    message = refused(jsonl(tmp_path / "c.jsonl", BAD))
    assert "9 of the 11 rows" in message
    assert "text is null in 3 (id 1, 6, 8)" in message
    assert "text is not a string in 3 (id 3, 7, 10)" in message
    assert "text is empty in 1 (id 2)" in message
    assert "label is null in 1 (id 4)" in message
    assert "label is empty in 1 (id 5)" in message
    assert "--on-bad-row skip" in message


def test_bad_rows_are_left_out_and_counted(tmp_path):
    config = jsonl(tmp_path / "c.jsonl", BAD).model_copy(update={"on_bad_row": "skip"})
    survey, staged = stage(config, tmp_path / "staged")
    assert staged.to_pylist() == [
        {"id": 0, "text": "fine", "label": "a"},
        {"id": 9, "text": "fine too", "label": "b"},
    ]
    assert survey.rows == 2
    assert {reason: bad.count for reason, bad in survey.bad_rows.items()} == {
        "text is null": 3,
        "text is empty": 1,
        "text is not a string": 3,
        "label is null": 1,
        "label is empty": 1,
    }


def test_only_the_first_five_ids_are_shown(tmp_path):
    table = {"text": [""] * 8 + ["x"], "label": ["a"] * 9, "key": [f"k{i}" for i in range(9)]}
    config = write(tmp_path / "c.parquet", table).model_copy(update={"id_column": "key"})
    assert "text is empty in 8 (id k0, k1, k2, k3, k4, ...)" in refused(config)


@pytest.mark.parametrize("values", [[1, 2, None, 4], [b"a", b"b", None, b"d"]])
def test_a_text_column_of_another_type(tmp_path, values):
    config = write(tmp_path / "c.parquet", {**GOOD, "text": values})
    message = refused(config)
    assert "text is not a string in 3 (id 0, 1, 3)" in message
    assert "text is null in 1 (id 2)" in message


def test_a_number_in_a_csv_is_a_text(tmp_path):
    config = write(tmp_path / "c.csv", {**GOOD, "text": ["01", "2.50", "NA", "null"]})
    _, staged = stage(config, tmp_path / "staged")
    assert staged["text"].to_pylist() == ["01", "2.50", "NA", "null"]


def test_not_a_number_is_no_label(tmp_path):
    labels = pa.array([0.0, float("nan"), 1.0, None])
    assert "label is null in 2 (id 1, 3)" in refused(
        write(tmp_path / "c.parquet", {**GOOD, "label": labels})
    )


def test_strings_that_are_not_utf8(tmp_path):
    broken = pa.array([b"a", b"\xff", b"c", b"d"]).cast(pa.string(), safe=False)
    for column in ("text", "label"):
        config = write(tmp_path / "c.parquet", {**GOOD, column: broken})
        assert f"column {column!r}" in refused(config) and "UTF-8" in refused(config)


def test_no_good_rows(tmp_path):
    config = write(tmp_path / "c.parquet", {"text": ["", ""], "label": ["a", "b"]})
    message = refused(config.model_copy(update={"on_bad_row": "skip"}))
    assert "no usable row" in message and "text is empty in 2" in message


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_no_rows(tmp_path, kind):
    config = write(tmp_path / f"c.{kind}", {"text": pa.array([], "str"), "label": []})
    if kind == "jsonl":
        (tmp_path / "c.jsonl").write_text("\n\n")
    assert "has no rows" in refused(config)


def test_one_class(tmp_path):
    message = refused(write(tmp_path / "c.parquet", {**GOOD, "label": ["a"] * 4}))
    assert "one class, 'a'" in message


def test_one_class_among_the_good_rows(tmp_path):
    config = write(tmp_path / "c.parquet", {**GOOD, "text": ["one", "", "three", "four"]})
    assert "one class" in refused(config.model_copy(update={"on_bad_row": "skip"}))


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
    "labels", [[0.5, 1.0, 2.0, 2.0], [1.0, float("inf"), 2.0, 2.0], [["a"], ["b"], ["a"], ["a"]]]
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
    monkeypatch.setattr(survey_module, "_hashes", lambda ids: np.zeros(len(ids), np.int64))
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


# Staging


def test_the_round_trip_keeps_columns_names_order_and_types(tmp_path):
    table = pa.table(
        {
            "extra.a": [1, 2, 3, 4],
            "label": pa.array([1, 2, 1, 1], pa.int8()),
            "id": ["not", "the", "id", "column"],
            "topic": pa.array(["a", "b", "a", "a"]).dictionary_encode(),
            "body": pa.array(["one", "two ", "three", "four"], pa.large_string()),
            "text": [None, "other", "", "columns"],
            "": [[1, 2], [], None, [3]],
            "view": pa.array(["a", None, "c", "d"], pa.string_view()),
        }
    )
    config = write(tmp_path / "c.parquet", table).model_copy(
        update={"text_column": "body", "label_column": "topic"}
    )
    survey, staged = stage(config, tmp_path / "staged")
    assert staged.column_names == [
        "id",
        "text",
        "label",
        "extra.extra.a",
        "extra.label",
        "extra.id",
        "extra.text",
        "extra.",
        "extra.view",
    ]
    assert staged["id"].to_pylist() == [0, 1, 2, 3]
    assert staged["id"].type == pa.int64()
    back = original_columns(staged, config, survey.schema)
    assert back.schema.names == table.schema.names
    assert back.schema.types == table.schema.types
    assert back.to_pylist() == table.to_pylist()


def test_texts_are_kept_as_they_are(tmp_path):
    texts = ["  spaces ", "new\nline", "tab\t", "né \U0001f600"]
    for kind in ("parquet", "jsonl"):
        config = write(tmp_path / f"c.{kind}", {**GOOD, "text": texts})
        _, staged = stage(config, tmp_path / kind)
        assert staged["text"].to_pylist() == texts


def test_labels_and_ids_never_become_paths(tmp_path):
    evil = ["../../x", "/etc/passwd", "../../x", "a/b"]
    table = {"key": ["../1", "/2", "..", "."], **GOOD, "label": evil}
    config = write(tmp_path / "c.parquet", table).model_copy(update={"id_column": "key"})
    stage(config, tmp_path / "staged", rows_per_file=2)
    assert sorted(p.name for p in (tmp_path / "staged").iterdir()) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.parquet", "staged"]


def test_staging_again_replaces_what_a_killed_one_left(tmp_path):
    config = write(tmp_path / "c.parquet", GOOD)
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "part-00007.parquet").write_bytes(b"half a file")
    (staged / "notes.txt").write_text("mine")
    stage_corpus(config, survey_corpus(config), LOCAL, str(staged), rows_per_file=3)
    assert sorted(p.name for p in staged.iterdir()) == [
        "notes.txt",
        "part-00000.parquet",
        "part-00001.parquet",
    ]


def test_staging_is_deterministic(tmp_path):
    config = write(tmp_path / "c.csv", GOOD)
    stage(config, tmp_path / "one")
    stage(config, tmp_path / "two")
    name = "part-00000.parquet"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_an_input_that_changes_in_between(tmp_path, kind):
    config = write(tmp_path / f"c.{kind}", {**GOOD, "x": [1, 2, 3, 4]})
    survey = survey_corpus(config)
    changes = (
        {**GOOD, "text": ["one", "two", "", "four"], "x": [1, 2, 3, 4]},
        {**GOOD, "x": ["no", "num", "ber", "s"]},
        {**GOOD, "x": [1, 2, 3, 4], "label": ["a", "b", None, "a"]},
    )
    for change in changes:
        write(tmp_path / f"c.{kind}", change)
        with pytest.raises(UserError):
            stage_corpus(config, survey, LOCAL, str(tmp_path / "staged"))
    write(tmp_path / f"c.{kind}", {**GOOD, "x": [1, 2, 3, 4]})
    with pytest.raises(UserError, match="changed while it was read"):
        stage_corpus(config, replace(survey, rows=5), LOCAL, str(tmp_path / "staged"))


def test_the_survey_writes_nothing(tmp_path, monkeypatch):
    config = write(tmp_path / "c.parquet", GOOD)
    monkeypatch.chdir(tmp_path)
    survey_corpus(config)
    assert [p.name for p in tmp_path.iterdir()] == ["c.parquet"]


# Classes


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_class_of_one_text_is_found_by_the_survey(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 2)
    table = {"text": ["one", " one", "One", "two", "one", "x"], "label": [1, 1, 2, 2, 1, 3]}
    assert survey_corpus(write(tmp_path / f"c.{kind}", table)).singletons == {1}


def test_look_alikes_are_told(tmp_path):
    labels = ["caf\u00e9", "cafe\u0301", "Tea", "tea", "a", "b"]
    survey = survey_corpus(write(tmp_path / "c.parquet", {"text": list("abcdef"), "label": labels}))
    assert len(survey.warnings) == 2
    assert "'Tea', 'tea'" in survey.warnings[0] + survey.warnings[1]
    assert "'cafe\\u0301', 'caf\\xe9'" in survey.warnings[0] + survey.warnings[1]


@pytest.mark.parametrize("number", [2**53, 2**53 + 1, -(2**53) - 1])
def test_integers_that_a_file_of_floats_would_round_are_refused_by_the_survey(tmp_path, number):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.parquet", {**GOOD, "x": [number, 1, 2, 3]})
    write(tmp_path / "in" / "b.parquet", {**GOOD, "x": [0.5, 1.5, 2.5, 3.5]})
    config = InputConfig(path=str(tmp_path / "in"))
    if number == 2**53:
        assert stage(config, tmp_path / "staged")[1]["extra.x"][0].as_py() == number
        return
    message = refused(config)
    assert "'x'" in message and "int64" in message and "double" in message


def test_a_text_of_which_nothing_is_seen_is_empty(tmp_path):
    texts = ["\u200b", "\u00a0\u2060", " a\u200bb", "c", "\x00\n"]
    labels = ["x", "x", "x", "y", "\ufeff"]
    pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "c.parquet")
    survey = survey_corpus(InputConfig(path=str(tmp_path / "c.parquet"), on_bad_row="skip"))
    assert survey.rows == 2 and survey.bad_rows["text is empty"].examples == (0, 1, 4)
