"""Where the input is: directories, globs, addresses, the hub, the demo."""

import gzip
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from input_files import ROWS, csv_text, jsonl_text, read, refused

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.sources import find_files, read_blocks
from smotext_ray.corpus.staging import stage_corpus
from smotext_ray.corpus.survey import survey_corpus

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
