"""How each format of an input is read, and damaged files."""

import bz2
import gzip
import lzma
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from input_files import ROWS, csv_text, jsonl_text, read, refused

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus import blocks, csv_files
from smotext_ray.corpus.formats import split_ending
from smotext_ray.corpus.sources import read_blocks

# Formats


def test_parquet(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "c.parquet")
    assert read(tmp_path / "c.parquet") == ROWS


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".JSONL"])
@pytest.mark.parametrize("packed", ["", ".gz", ".bz2", ".zst", ".xz"])
def test_text_formats_and_compressions(tmp_path, ending, packed):
    delimiter = "\t" if ending == ".tsv" else ","
    content = csv_text(delimiter=delimiter) if ending in (".csv", ".tsv") else jsonl_text()
    pack = {
        "": bytes,
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
        ".xz": lzma.compress,
    }[packed]
    path = tmp_path / f"c{ending}{packed}"
    path.write_bytes(pack(content.encode()))
    assert read(path) == ROWS


def test_split_ending():
    assert split_ending("a/b.CSV.gz") == ("csv", "gzip")
    assert split_ending("https://host/c.jsonl?download=true") == ("jsonl", None)
    assert split_ending("c.parquet.gz") == (None, None)
    assert split_ending("csv") == (None, None)


def test_csv_cells_stay_as_they_were_written(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("text,label\n007,NA\n,\n1e5,null\n")
    assert read(path) == [
        {"text": "007", "label": "NA"},
        {"text": "", "label": None},
        {"text": "1e5", "label": "null"},
    ]


def test_a_csv_larger_than_a_block_comes_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "CSV_BLOCK_BYTES", 200)
    rows = [{"text": f"line one of {i}\nline two", "label": str(i % 3)} for i in range(100)]
    (tmp_path / "c.csv").write_text(csv_text(rows))
    config = InputConfig(path=str(tmp_path / "c.csv"))
    found = list(read_blocks(config))
    assert len(found) > 5
    assert [row for block in found for row in block.table.to_pylist()] == rows


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_other_files_come_in_blocks_too(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 10)
    rows = [{"text": f"text {i}", "label": str(i % 3)} for i in range(95)]
    path = tmp_path / f"c.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(jsonl_text(rows))
    found = list(read_blocks(InputConfig(path=str(path))))
    assert len(found) == 10
    assert [row for block in found for row in block.table.to_pylist()] == rows


def test_byte_order_marks_and_blank_lines(tmp_path):
    (tmp_path / "c.csv").write_text("\ufefftext,label\n\na,x\n\nb,y\n")
    (tmp_path / "c.jsonl").write_text("\ufeff" + '{"text":"a","label":"x"}\n\n')
    assert [row["text"] for row in read(tmp_path / "c.csv")] == ["a", "b"]
    assert [row["text"] for row in read(tmp_path / "c.jsonl")] == ["a"]


# Damaged and missing files


def test_a_missing_file(tmp_path):
    assert "does not exist" in refused(tmp_path / "none.csv")
    assert "does not exist" in refused("none.csv")
    assert "does not exist" in refused(tmp_path / "*.csv")
    assert "does not exist" in refused(f"file://{tmp_path}/none.csv")
    assert "--input" in refused("")


def test_an_empty_file(tmp_path):
    (tmp_path / "c.csv").touch()
    assert "is empty (0 bytes)" in refused(tmp_path / "c.csv")


def test_an_empty_directory(tmp_path):
    assert "has no files" in refused(tmp_path)


def test_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "c.csv")
    assert "not a regular file" in refused(tmp_path / "c.csv")


@pytest.mark.parametrize("of", ["file", "directory"])
def test_no_permission(of):
    # Not in tmp_path, which only its owner may enter, and root may read everything.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(name) / "c.csv"
        path.write_text(csv_text())
        path.chmod(0 if of == "file" else 0o644)
        if of == "directory":
            Path(name).chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            message = refused(path if of == "file" else name)
        finally:
            os.seteuid(user)
            Path(name).chmod(0o755)
    assert "is not readable" in message


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_corrupt_parquet(tmp_path, damage):
    path = tmp_path / "c.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] if damage == "cut" else b"\x00" * 100)
    message = refused(path)
    assert "cannot be read as parquet" in message and "c.parquet" in message


def test_a_corrupt_page_of_a_parquet(tmp_path):
    path = tmp_path / "c.parquet"
    table = pa.table({"text": [f"text {i}" for i in range(5000)], "label": ["a", "b"] * 2500})
    pq.write_table(table, path, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[1000:1200] = b"\xff" * 200
    path.write_bytes(content)
    assert "cannot be read as parquet" in refused(path)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"text,label\na,b\nc\n", "Line 3 of"),
        (b'text,label\n"a,b\nc,d,e\n', "Line 2 of"),
        (b"\n\n", "has no lines"),
        (b"text,label\n\xff\xfe,b\n", "is not UTF-8"),
        ("text,label\na,b\n".encode("utf-16-le"), "input.encoding=utf-16-le"),
        (b"text,text,label\na,b,c\n", "two columns named 'text'"),
    ],
)
def test_a_corrupt_csv(tmp_path, content, part):
    (tmp_path / "c.csv").write_bytes(content)
    assert part in refused(tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b'{"text":"a","label":"b"}\n{"text":"a","la', "Line 2 of"),
        (b'[{"text":"a","label":"b"}]', "not a JSON object"),
        (b'{\n"text":"a",\n"label":"b"}', "one complete object per line"),
        (b'{"text":"\xff","label":"b"}', "is not UTF-8"),
        (b'{"text":"a","label":"b","x":1}\n{"text":"a","label":"b","x":"y"}', "'x'"),
        (b'{"text":"a","label":"b","x":99999999999999999999}', "'x'"),
        (b'{"text":"a","label":"\\ud800"}', "'label'"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_corrupt_jsonl(tmp_path, content, part):
    (tmp_path / "c.jsonl").write_bytes(content)
    assert part in refused(tmp_path / "c.jsonl")


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_file_that_is_not_compressed_as_it_says(tmp_path, ending):
    content = csv_text() if ending == ".csv" else jsonl_text()
    for packed in (".gz", ".bz2", ".xz", ".zst"):
        (tmp_path / f"c{ending}{packed}").write_text(content)
        assert read(tmp_path / f"c{ending}{packed}") == ROWS
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        (tmp_path / f"c{ending}").write_bytes(pack(content.encode()))
        assert read(tmp_path / f"c{ending}") == ROWS


@pytest.mark.parametrize("packed", [".gz", ".xz"])
def test_a_cut_off_compressed_file(tmp_path, packed):
    content = jsonl_text(ROWS * 100).encode()
    data = gzip.compress(content) if packed == ".gz" else lzma.compress(content)
    (tmp_path / f"c.jsonl{packed}").write_bytes(data[:-30])
    assert "cannot be read as jsonl" in refused(tmp_path / f"c.jsonl{packed}")


def test_an_unknown_ending(tmp_path):
    (tmp_path / "c.docx").write_text("x")
    message = refused(tmp_path / "c.docx")
    assert "unknown extension" in message and ".parquet" in message and ".zst" in message


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_missing_column_lists_the_existing_ones(tmp_path, kind):
    path = tmp_path / f"c.{kind}"
    if kind == "csv":
        path.write_text(csv_text())
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    message = refused(path, label_column="topic")
    assert "no column 'topic'" in message and "text, label" in message
    assert "--label-column" in message
    assert "--id-column" in refused(path, id_column="key")


def test_excel(tmp_path):
    pytest.importorskip("openpyxl")
    import pandas as pd

    rows = [{"text": "NA", "label": 1, "n": 0.5}, {"text": "b", "label": 2, "n": None}]
    pd.DataFrame(rows).to_excel(tmp_path / "c.xlsx", index=False)
    assert read(tmp_path / "c.xlsx") == rows
    with pd.ExcelWriter(tmp_path / "two.xlsx") as writer:
        for name in ("first", "second"):
            pd.DataFrame(rows).to_excel(writer, sheet_name=name)
    assert "the sheets 'first', 'second'" in refused(tmp_path / "two.xlsx")


def test_excel_without_its_library(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "c.xlsx").write_bytes(b"PK\x03\x04")
    assert "install openpyxl, or save it as csv" in refused(tmp_path / "c.xlsx")


def test_a_damaged_excel_file(tmp_path):
    pytest.importorskip("openpyxl")
    (tmp_path / "c.xlsx").write_bytes(b"PK\x03\x04 and no more")
    assert "cannot be read as excel" in refused(tmp_path / "c.xlsx")
