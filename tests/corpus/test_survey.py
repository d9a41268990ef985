"""What the survey of an input counts and refuses."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from surveyed import GOOD, jsonl, refused, stage, write

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus import blocks, csv_files
from smotext_ray.corpus.survey import BadRows, survey_corpus

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
