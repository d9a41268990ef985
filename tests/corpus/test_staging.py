"""The corpus of a run: what the input holds, in files of its own."""

from dataclasses import replace

import pyarrow as pa
import pytest
from surveyed import GOOD, LOCAL, stage, write

from smotext_ray.corpus.staging import original_columns, stage_corpus
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.errors import UserError


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
