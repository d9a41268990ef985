"""Which files of a directory are the corpus, and what their paths say."""

import json
import os

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.sources import find_files
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.errors import UserError

ROWS = {"text": ["one", "two"], "label": ["a", "b"]}


def write(path, table=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(ROWS if table is None else table), path)


def refused(path):
    with pytest.raises(UserError) as caught:
        find_files(str(path))
    return str(caught.value)


def survey(path, **options):
    return survey_corpus(InputConfig(path=str(path), **options))


def test_a_file_counts_once_whatever_links_lead_to_it(tmp_path):
    write(tmp_path / "in" / "b.parquet")
    os.symlink("b.parquet", tmp_path / "in" / "a.parquet")
    os.symlink("b.parquet", tmp_path / "in" / "c.parquet")
    os.symlink(tmp_path / "in", tmp_path / "in" / "again")
    assert find_files(str(tmp_path / "in")).paths == (str(tmp_path / "in" / "b.parquet"),)
    assert find_files(str(tmp_path / "in" / "*.parquet")).paths == (
        str(tmp_path / "in" / "b.parquet"),
    )
    write(tmp_path / "elsewhere.parquet")
    os.symlink(tmp_path / "elsewhere.parquet", tmp_path / "in" / "d.parquet")
    assert len(find_files(str(tmp_path / "in")).paths) == 2


def test_a_link_to_nothing_is_named(tmp_path):
    write(tmp_path / "in" / "a.parquet")
    os.symlink("none.parquet", tmp_path / "in" / "b.parquet")
    assert "b.parquet" in refused(tmp_path / "in")


def test_an_own_run_below_the_input_is_refused(tmp_path):
    write(tmp_path / "in" / "a.parquet")
    write(tmp_path / "in" / "run" / "corpus" / "part-00000.parquet")
    (tmp_path / "in" / "run" / "manifest.json").write_text("{}")
    assert "is a run of smotext" in refused(tmp_path / "in")
    assert "is a run of smotext" in refused(tmp_path / "in" / "run")
    assert find_files(str(tmp_path / "in" / "*.parquet")) is not None


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("Delta", "_delta_log/0.json"),
        ("Hudi", ".hoodie/hoodie.properties"),
        ("Iceberg", "metadata/v1.metadata.json"),
    ],
)
def test_tables_above_parquet_are_named(tmp_path, kind, file):
    for table in ("table", "all/table"):
        write(tmp_path / table / "data" / "a.parquet")
        path = tmp_path / table / file
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    for path in ("table", "all", "table/data/*.parquet", "table/*/*.parquet"):
        if path == "table/data/*.parquet":
            continue  # what is above is not looked at
        assert f"table of {kind}" in refused(tmp_path / path)


# key=value directories


def test_directories_are_columns(tmp_path):
    for label, year, text in (("good news", "2024", "one"), ("bad", "2025", "two")):
        where = tmp_path / "in" / f"year={year}" / f"label={label.replace(' ', '%20')}"
        write(where / "a.parquet", {"text": [text]})
        write(where / "b.parquet", {"text": [f"{text} more"]})
    found = survey(tmp_path / "in")
    assert found.class_counts == {"bad": 2, "good news": 2}
    assert found.schema.field("year").type == pa.int64()
    assert survey(tmp_path / "in" / "year=*" / "*" / "*.parquet").schema == found.schema


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_directories_of_text_files_are_columns_too(tmp_path, ending):
    for label in ("01", "__HIVE_DEFAULT_PARTITION__", "1.0"):
        (tmp_path / f"label={label}").mkdir()
        lines = {"csv": "text\na\n", "jsonl": json.dumps({"text": "a"}) + "\n"}[ending]
        (tmp_path / f"label={label}" / f"c.{ending}").write_text(lines)
    found = survey(tmp_path, on_bad_row="skip")
    assert found.class_counts == {"01": 1, "1.0": 1}
    assert found.bad_rows["label is null"].count == 1


def test_a_column_of_the_file_counts_more_than_its_path(tmp_path):
    write(tmp_path / "label=x" / "a.parquet")
    assert survey(tmp_path).class_counts == {"a": 1, "b": 1}


# Paths into objects


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_column_inside_an_object(tmp_path, kind):
    rows = [{"ticket": {"body": f"text {i}", "meta": {"topic": "ab"[i % 2]}}} for i in range(4)]
    rows.append({"ticket": None})
    if kind == "parquet":
        write(tmp_path / "c.parquet", pa.Table.from_pylist(rows))
    else:
        (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = {"text_column": "ticket.body", "label_column": "ticket.meta.topic"}
    found = survey(tmp_path / f"c.{kind}", on_bad_row="skip", **names)
    assert found.class_counts == {"a": 2, "b": 2}
    assert found.bad_rows["text is null"].count == 1
    assert found.schema.names == ["ticket", "ticket.body", "ticket.meta.topic"]


def test_a_path_that_leads_nowhere(tmp_path):
    write(tmp_path / "c.parquet", pa.Table.from_pylist([{"ticket": {"body": "a"}, "label": "b"}]))
    with pytest.raises(UserError, match=r"has no column 'ticket\.text'"):
        survey(tmp_path / "c.parquet", text_column="ticket.text")


def test_a_directory_of_save_to_disk_says_how_to_write_parquet(tmp_path):
    rows = {"text": ["a", "b"], "label": ["x", "y"]}
    home = tmp_path / "saved"
    datasets.Dataset.from_dict(rows).save_to_disk(home)
    with pytest.raises(UserError, match=r"written by save_to_disk .*to_parquet"):
        find_files(str(home))
