"""A sound run is found sound, and each kind of damage is found where it is."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_run import build, corpus_table

from smotext_ray.errors import UserError
from smotext_ray.run import directory as directory_module
from smotext_ray.run import result
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify
from smotext_ray.tables import fixed_size_list

WANTED = {"grain": 6, "ship": 3}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sound")
    build(directory, WANTED, rounds=2, rejected={0: "empty", 3: "truncated"}, errors=[7])
    return directory / "run"


@pytest.fixture
def run(sound, tmp_path):
    """A copy to damage."""
    return Run(shutil.copytree(sound, tmp_path / "run").as_posix())


def failed(run):
    return [finding.check for finding in verify(run) if not finding.ok]


def rewrite(run, part, change):
    """Replace the first file of a directory of the run."""
    path = min(run.table(*part).files)
    pq.write_table(change(pq.read_table(path)), path)


def edit_manifest(run, change):
    manifest = Manifest.read(run)
    change(manifest)
    manifest.save(run)


def test_a_sound_run(run):
    findings = verify(run)
    assert failed(run) == []
    assert [finding.check for finding in findings] == [
        "embeddings: every needed row once",
        "embeddings: rows per class",
        "embeddings: finite numbers",
        "plan round-1: unique ids",
        "plan round-1: points per class",
        "plan round-1: hashes",
        "samples round-1: every plan row decoded exactly once",
        "plan round-2: unique ids",
        "plan round-2: points per class",
        "plan round-2: hashes",
        "samples round-2: every plan row decoded exactly once",
        "result: hashes",
        "result: rows per class",
        "result: unique sample ids",
    ]
    assert all(finding.seen for finding in findings)


@pytest.mark.parametrize("until", ["embed", "plan", "decode"])
def test_a_run_under_way_is_sound_as_far_as_it_is(tmp_path, until):
    assert failed(build(tmp_path, WANTED, until=until)) == []


def test_a_run_that_fell_short_is_sound(tmp_path):
    run = build(tmp_path, WANTED, rejected={i: "empty" for i in range(6)})
    assert Manifest.read(run).shortfall == {"grain": 6}
    assert failed(run) == []


@pytest.mark.parametrize("label_of", [{"grain": 2, "ship": 1}, {"grain": True, "ship": False}])
def test_labels_that_are_no_strings(tmp_path, label_of):
    wanted = {label_of[name]: number for name, number in WANTED.items()}
    assert failed(build(tmp_path, wanted, corpus=corpus_table(label_of=label_of))) == []


def test_a_large_result_is_sound_and_damage_to_it_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(result, "LARGE", 1)
    monkeypatch.setattr(result, "ROWS_PER_FILE", 6)
    run = build(tmp_path, WANTED)
    assert failed(run) == []
    (tmp_path / "run" / "augmented" / "part-00001.parquet").unlink()
    assert failed(run) == ["result: hashes"]


def test_no_run(tmp_path):
    with pytest.raises(UserError, match="There is no run"):
        verify(Run(str(tmp_path)))


# Damage


def test_a_sample_is_missing(run):
    rewrite(run, ("samples", "round-2"), lambda table: table.slice(1))
    assert failed(run) == ["samples round-2: every plan row decoded exactly once"]


def test_a_sample_is_there_twice(run):
    rewrite(run, ("samples", "round-1"), lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    assert failed(run) == ["samples round-1: every plan row decoded exactly once"]


def test_a_sample_is_there_in_place_of_another(run):
    rewrite(
        run,
        ("samples", "round-1"),
        lambda table: pa.concat_tables([table.slice(1), table.slice(1, 1)]),
    )
    assert failed(run) == ["samples round-1: every plan row decoded exactly once"]


def test_all_samples_of_a_round_are_gone(run):
    shutil.rmtree(run.at("samples", "round-1"))
    assert failed(run) == ["samples round-1: can be read"]


def test_a_plan_file_has_changed(run):
    rewrite(
        run,
        ("plan", "round-1"),
        lambda table: table.set_column(4, "lam", pa.array(np.zeros(len(table), np.float32))),
    )
    assert failed(run) == ["plan round-1: hashes"]


def test_a_plan_file_is_missing(run):
    run.fs.delete_file(min(run.table("plan", "round-1").files))
    assert failed(run) == [
        "plan round-1: can be read",
        "plan round-1: hashes",
        "samples round-1: can be read",
    ]


def test_all_plan_files_are_gone(run):
    shutil.rmtree(run.at("plan"))
    assert {"plan round-1: hashes", "plan round-2: hashes"} <= set(failed(run))


def test_a_plan_file_that_no_one_planned_is_not_read(run):
    first = min(run.table("plan", "round-1").files)
    shutil.copy(first, first.replace("part-0000", "part-9999"))
    assert failed(run) == []


@pytest.mark.parametrize("name", ["embeddings", "plan/round-1", "samples/round-1"])
def test_a_file_is_no_parquet_any_more(run, name):
    path = min(run.table(name).files)
    run.write(b"PAR1 and then nothing", path.removeprefix(run.path + "/"))
    assert f"{name.replace('/', ' ')}: can be read" in failed(run)
    assert all("\n" not in finding.seen for finding in verify(run))


def test_an_embeddings_row_is_missing(run):
    rewrite(run, ("embeddings",), lambda table: table.slice(1))
    assert failed(run) == ["embeddings: every needed row once", "embeddings: rows per class"]


def test_all_embeddings_are_gone(run):
    shutil.rmtree(run.at("embeddings"))
    assert failed(run) == ["embeddings: can be read"]


def test_an_embedding_is_not_finite(run):
    def spoil(table):
        x = np.array(table["embedding"].to_pylist(), np.float32)
        x[0, 0] = np.nan
        return table.set_column(
            table.column_names.index("embedding"), "embedding", fixed_size_list(x)
        )

    rewrite(run, ("embeddings",), spoil)
    assert failed(run) == ["embeddings: finite numbers"]


def test_the_result_has_changed(run):
    path = run.at("augmented.parquet")
    pq.write_table(pq.read_table(path).slice(1), path)
    assert failed(run) == ["result: hashes"]


def test_the_result_is_gone(run):
    run.fs.delete_file(run.at("augmented.parquet"))
    assert failed(run) == ["result: hashes"]


def test_the_result_is_not_what_the_manifest_counts(run):
    edit_manifest(run, lambda manifest: manifest.shortfall.update(ship=1))
    assert failed(run) == ["result: rows per class"]


def test_a_sample_that_is_in_the_result_twice(run):
    path = run.at("augmented.parquet")
    table = pq.read_table(path)
    ids = table["sample_id"].to_pylist()
    ids[-1] = ids[-2]
    at = table.column_names.index("sample_id")
    pq.write_table(table.set_column(at, "sample_id", pa.array(ids)), path)
    digest = {"augmented.parquet": directory_module.file_sha256(run, "augmented.parquet")}
    edit_manifest(run, lambda manifest: setattr(manifest.result, "sha256", digest))
    assert failed(run) == ["result: unique sample ids"]
