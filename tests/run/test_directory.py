"""A run directory is whole or not there, and is resumed only with the settings it began with."""

from __future__ import annotations

import json
import pickle
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs as pafs

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.run.directory import MANIFEST, Run
from smotext_ray.run.facts import InputFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import check_same, existing_manifest, new_manifest
from smotext_ray.utils.filesystems import open_filesystem

MODELS = {
    "encoder": {"name": "minilm", "sha256": "1"},
    "llm": {"name": "smol", "sha256": "2"},
}


def config(**sections):
    return RunConfig.model_validate(sections)


@pytest.fixture(params=["local", "memory"])
def uri(request, tmp_path):
    """Of a directory that is not there yet, on a disk and behind fsspec."""
    return str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4()}/run"


@pytest.fixture
def begun(uri):
    """A run with a manifest and nothing else."""
    facts = InputFacts(rows=0, class_counts={})
    new_manifest(config(), MODELS, "2026-01-01", facts).save(Run(uri))
    return uri


def opened(uri, config, models):
    """The manifest of a run that fits, as the stages open it."""
    run = Run(uri)
    manifest = existing_manifest(run)
    if manifest is not None:
        check_same(run, manifest, config, models)
    return manifest


def refused(*arguments):
    with pytest.raises(UserError) as caught:
        opened(*arguments)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


# Files


def test_what_is_written_is_read(uri):
    run = Run(uri)
    assert not run.has("a", "b.bin") and not run.has()
    run.write(b"one", "a", "b.bin")
    assert run.read("a", "b.bin") == b"one"
    run.write(b"two", "a", "b.bin")
    assert Run(uri).read("a", "b.bin") == b"two"
    assert run.has("a") and run.has("a", "b.bin")


def test_a_directory_of_parquet_is_one_table(uri):
    run = Run(uri)
    for part in ("1", "2"):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"n": [int(part)]}), sink)
        run.write(sink.getvalue().to_pybytes(), "numbers", f"{part}.parquet")
    assert sorted(run.table("numbers").to_table()["n"].to_pylist()) == [1, 2]


def test_clear_removes_a_directory_and_nothing_else(uri):
    run = Run(uri)
    run.write(b"x", "old", "part")
    run.write(b"x", "kept")
    run.clear("old")
    run.clear("never")
    assert not run.has("old") and run.has("kept")


def test_make_is_a_directory_to_write_to(uri):
    run = Run(uri)
    with run.fs.open_output_stream(f"{run.make('deep', 'er')}/file") as stream:
        stream.write(b"x")
    assert run.read("deep", "er", "file") == b"x"
    run.make("deep", "er")
    assert run.has("deep", "er", "file")


class Dies(BaseException):
    """A kill, which no handler of errors sees."""


class NoRename:
    """The local file system, for a process that is killed before it renames."""

    def __getattr__(self, name):
        return getattr(pafs.LocalFileSystem(), name)

    def move(self, *_):
        raise Dies


def test_a_write_that_is_killed_leaves_what_was_there(tmp_path, monkeypatch):
    run = Run(str(tmp_path))
    run.write(b"old", "file")

    monkeypatch.setattr(run, "fs", NoRename())
    for name in ("file", "new"):
        with pytest.raises(Dies):
            run.write(b"half", name)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert not (tmp_path / "new").exists()


def test_what_a_killed_write_leaves_is_no_part_of_a_table(tmp_path, monkeypatch):
    run = Run(str(tmp_path))
    pq.write_table(pa.table({"n": [1]}), f"{run.make('numbers')}/1.parquet")
    monkeypatch.setattr(run, "fs", NoRename())
    with pytest.raises(Dies):
        run.write(b"half", "numbers", "2.parquet")
    left = [path for path in (tmp_path / "numbers").iterdir() if path.name != "1.parquet"]
    assert left and not any(path.name.endswith(".parquet") for path in left)
    assert Run(str(tmp_path)).table("numbers").to_table().num_rows == 1


def test_user_directories(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert open_filesystem("~/run")[1] == str(tmp_path / "run")
    assert open_filesystem("run")[1] == str(tmp_path / "run")
    for uri in (f"file://{tmp_path}/run", f"file:{tmp_path}/run"):
        assert open_filesystem(uri)[1] == str(tmp_path / "run")
    assert open_filesystem(f"file://{tmp_path}/a%20b c")[1] == f"{tmp_path}/a b c"


def test_an_unknown_kind_of_address_is_refused():
    with pytest.raises(UserError, match="nosuch://a/b cannot be opened"):
        Run("nosuch://a/b")


def test_an_address_that_is_refused_is_told_without_its_keys():
    with pytest.raises(UserError, match="s3://bucket/run cannot be opened") as told:
        Run("s3://AKIA:hidden@bucket/run?bogus=1&secret_key=other")
    assert "query parameter" in str(told.value)
    assert not any(word in str(told.value) for word in ("AKIA", "hidden", "other"))


# The manifest


def test_a_manifest_says_what_the_run_stands_on(begun):
    manifest = Manifest.read(Run(begun))
    assert manifest.models == MODELS
    assert manifest.config.plan.seed == 0
    assert manifest.config == config()
    assert {"ray", "torch", "pyarrow"} <= set(manifest.packages)
    assert manifest.stages == {} and manifest.rounds == []


def test_without_a_manifest_there_is_no_run(uri):
    with pytest.raises(UserError, match=r"There is no run in .*run \(no manifest.json\)\.$"):
        _ = Manifest.read(Run(uri))


@pytest.mark.parametrize("content", [b"", b'{"format": 1,', b"\xff\xfe"])
def test_a_damaged_manifest_is_a_sentence(uri, content):
    Run(uri).write(content, MANIFEST)
    with pytest.raises(UserError, match=r"manifest\.json .* is damaged") as caught:
        _ = Manifest.read(Run(uri))
    assert "\n" not in str(caught.value)
    refused(uri, config(), MODELS)


@pytest.mark.parametrize("content", [{}, {"format": 99, "config": {}}, [1, 2], 3, None])
def test_a_manifest_of_another_version_or_kind_is_refused(uri, content):
    Run(uri).write(json.dumps(content).encode(), MANIFEST)
    assert "is from another version of smotext" in refused(uri, config(), MODELS)
    with pytest.raises(UserError, match="is from another version"):
        _ = Manifest.read(Run(uri))


def test_a_full_disk_leaves_no_partial_file(uri, monkeypatch):
    run = Run(uri)
    run.write(b"old", "file")

    class Full:
        def __getattr__(self, name):
            return getattr(fs, name)

        def move(self, *_):
            raise OSError("no space left on device")

    fs = run.fs
    monkeypatch.setattr(run, "fs", Full())
    with pytest.raises(OSError, match="no space"):
        run.write(b"new", "file")
    monkeypatch.setattr(run, "fs", fs)
    assert [info.base_name for info in run.files()] == ["file"] and run.read("file") == b"old"


def test_a_worker_finds_a_run_named_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(Run("runs/x"))
    monkeypatch.chdir("/")
    assert pickle.loads(sent).path == str(tmp_path / "runs" / "x")


# Opening


def test_a_new_directory_is_opened_and_not_made(uri):
    assert opened(uri, config(), MODELS) is None and not Run(uri).has()


def test_an_empty_directory_is_good(tmp_path):
    assert opened(str(tmp_path), config(), MODELS) is None


def test_a_run_is_gone_on_with(begun):
    assert opened(begun, config(), MODELS).models == MODELS


def test_foreign_files_are_not_mixed_with_a_run(uri):
    Run(uri).write(b"x", "letter.txt")
    assert "has files but no run" in refused(uri, config(), MODELS)


def test_a_file_is_no_directory(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    assert "is a file; name a directory" in refused(str(file), config(), MODELS)
    with pytest.raises(UserError, match="There is no run in"):
        _ = Manifest.read(Run(str(file)))


@pytest.mark.parametrize(
    ("section", "values", "told"),
    [
        ("plan", {"seed": 7}, ("plan.seed", "0 there", "7 here")),
        ("decoder", {"max_tokens": 5}, ("decoder.max_tokens", "96 there", "5 here")),
        ("encoder", {"pooling": "cls"}, ("encoder.pooling", "'mean' there", "'cls' here")),
        ("input", {"text_column": "t"}, ("input.text_column", "'text' there", "'t' here")),
        ("gate", {"min_cosine": 0.9}, ("gate.min_cosine", "0.35 there", "0.9 here")),
        ("input", {"path": "b.csv"}, ("input.path", "'' there", "'b.csv' here")),
        (
            "resources",
            {"plan_points_per_file": 7},
            ("resources.plan_points_per_file", "20000 there", "7 here"),
        ),
        (
            "plan",
            {"sampling_strategy": {"a": 3}},
            ("plan.sampling_strategy", "'auto' there", "{'a': 3} here"),
        ),
    ],
)
def test_another_setting_is_refused_with_key_and_both_values(begun, section, values, told):
    message = refused(begun, config(**{section: values}), MODELS)
    assert "was started with other settings" in message
    for part in told:
        assert part in message


def test_another_model_is_refused(begun):
    other = MODELS | {"llm": {"name": "smol", "sha256": "3"}}
    message = refused(begun, config(), other)
    assert "the llm" in message and "'2'" in message and "'3'" in message


def test_what_changes_no_row_may_differ(begun):
    free = config(
        plan={"max_rounds": 9},
        resources={"encoder_actors": 3, "decode_rows_per_block": 7},
    )
    assert opened(begun, free, MODELS)
