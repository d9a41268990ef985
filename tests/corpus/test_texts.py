"""Training texts are read from lines or a column, without empty ones."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smotext_ray.corpus.texts import read_labeled_texts, read_texts
from smotext_ray.errors import UserError


def test_a_txt_file_is_one_text_a_line(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("Größe zählt\n\n  two  \n \t\nlast", encoding="utf-8")
    assert read_texts(str(file), "text") == ["Größe zählt", "two", "last"]


def test_a_line_ends_at_a_line_end_only(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_bytes("one\u2028still one\x0cstill\r\ntwo\n".encode())
    assert read_texts(str(file), "text") == ["one\u2028still one\x0cstill", "two"]


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.jsonl.gz"])
def test_a_table_gives_its_column_in_order(tmp_path, name):
    frame = pd.DataFrame({"body": [" a b ", None, "", "  ", "c"], "other": range(5)})
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    elif name.endswith("csv"):
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    assert read_texts(str(path), "body") == ["a b", "c"]


def test_a_column_of_numbers_holds_no_text(tmp_path):
    pd.DataFrame({"text": [1, 2]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="has no text to train on"):
        read_texts(str(tmp_path / "t.parquet"), "text")


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    pd.DataFrame({"body": ["a"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="body"):
        read_texts(str(tmp_path / "t.parquet"), "text")


@pytest.mark.parametrize("name", ["none.txt", "none.parquet"])
def test_a_file_that_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=name):
        read_texts(str(tmp_path / name), "text")


def test_a_file_without_text_is_refused(tmp_path):
    (tmp_path / "t.txt").write_text("\n \n")
    with pytest.raises(UserError, match="has no text"):
        read_texts(str(tmp_path / "t.txt"), "text")


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match="cannot be read as text"):
        read_texts(str(tmp_path / "t.txt"), "text")


def test_labeled_texts_are_the_first_rows_with_text_and_label(tmp_path):
    table = pa.table({"t": ["a", " ", "b", None, "c", "d"], "l": [1, 1, 2, 2, None, 3]})
    pq.write_table(table, tmp_path / "it.parquet")
    path = str(tmp_path / "it.parquet")
    assert read_labeled_texts(path, "t", "l", 9) == (["a", "b", "d"], [1, 2, 3])
    assert read_labeled_texts(path, "t", "l", 2) == (["a", "b"], [1, 2])
    assert read_labeled_texts(path, "t", None, 3) == (["a", "b", "c"], None)
    with pytest.raises(UserError, match="fewer than two usable texts"):
        read_labeled_texts(path, "t", "l", 1)


def test_labels_are_integers_where_others_are_missing(tmp_path):
    table = {"text": ["a", "b", "c", "d"], "label": [1.0, float("nan"), 0.0, None]}
    pq.write_table(pa.table(table), tmp_path / "c.parquet")
    texts, labels = read_labeled_texts(str(tmp_path / "c.parquet"), "text", "label", 9)
    assert texts == ["a", "c"] and labels == [1, 0] and type(labels[0]) is int


def test_lists_of_labels_are_refused(tmp_path):
    table = pa.table({"text": ["one", "two"], "label": [["a"], ["a", "b"]]})
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(UserError, match="has lists of labels; name one with a class per text"):
        read_labeled_texts(str(tmp_path / "t.parquet"), "text", "label", 5)
