"""``smotext expand``: new rows into a run, classes up to their targets."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from fake_run import HERE, fake_config, fakes_told
from grown_corpus import config_of, is_sound, labels_of, rows, write
from handmade_run import changed
from pyarrow import fs as pafs

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.pipeline import embed, rounds
from smotext_ray.pipeline import expand as expand_module
from smotext_ray.pipeline.expand import ExpansionRequest, expand
from smotext_ray.pipeline.new_rows import NewRows
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import InputFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import new_manifest


@pytest.fixture(scope="module", autouse=True)
def fakes(tmp_path_factory):
    with fakes_told(tmp_path_factory.mktemp("fakes") / "stage"):
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A directory with a run of 12 corn and 5 ship, balanced, and its corpus."""
    home = tmp_path_factory.mktemp("made")
    corpus = write(home / "corpus.parquet", rows("corn", 0, 12), rows("ship", 0, 5))
    rounds.augment(fake_config(corpus), str(home / "run"), **HERE)
    return home


@pytest.fixture
def finished(made, tmp_path) -> Run:
    """That run and its corpus for one test."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    run = Run(str(tmp_path / "run"))
    manifest = Manifest.read(run)
    manifest.config = changed(manifest.config, input={"path": str(tmp_path / "corpus.parquet")})
    manifest.save(run)
    return run


def contents(run: Run) -> dict[str, str]:
    """The hash of every file but the log, which this process has had since it made the run, and
    those that tell which process was the last to hold the lease."""
    files = (path for path in Path(run.uri).rglob("*") if path.is_file())
    found = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.parent.name not in ("logs", "lease") and path.name != "manifest.json"
    }
    return found | {"manifest": Manifest.read(run).model_dump_json()}


def test_new_rows_are_embedded_and_their_classes_topped_up(finished, tmp_path):
    assert labels_of(finished) == {False: {"corn": 12, "ship": 5}, True: {"ship": 7}}
    before = contents(finished)
    # The input has grown: old rows come again, and one class is new.
    write(
        tmp_path / "corpus.parquet",
        *(rows("corn", 0, 15), rows("ship", 0, 6), rows("bank", 0, 3), rows("bank", 1, 2)),
    )
    run, done = expand(finished.uri, ExpansionRequest(), **HERE)
    assert done and is_sound(run)
    found = labels_of(run)
    assert found == {
        False: {"corn": 15, "ship": 6, "bank": 3},
        True: {"ship": 9, "bank": 12},
    }
    entry = Manifest.read(run).expansions[0]
    assert (entry.rows_read, entry.new_rows, entry.changed_rows) == (25, 7, 0)
    assert entry.accepted == {"ship": 9, "bank": 12} and entry.finished
    # What was there is as it was: no row embedded or decoded again.
    after = contents(run)
    kept = [f for f in before if any(d in f for d in ("/embeddings/", "/samples/", "/plan/"))]
    kept = [f for f in kept if f.endswith(".parquet")]  # not the lists of a table's files
    assert kept and all(after[file] == before[file] for file in kept)
    ids = run.table("embeddings").to_table(columns=["id"])["id"].to_pylist()
    assert sorted(ids) == list(range(24))


def test_a_second_time_there_is_nothing_to_do(finished):
    before = contents(finished)
    run, done = expand(finished.uri, ExpansionRequest(), **HERE)
    assert not done
    assert contents(run) == before


def test_a_higher_target_is_met_and_a_lower_one_is_reached_already(finished):
    run, done = expand(finished.uri, ExpansionRequest(target={"ship": 14}), **HERE)
    assert done and labels_of(run)[True] == {"ship": 9}
    assert not expand(finished.uri, ExpansionRequest(), **HERE)[1]  # the target stays
    run, done = expand(finished.uri, ExpansionRequest(target={"ship": 3}), **HERE)
    assert done and labels_of(run)[True] == {} and is_sound(run)
    # The samples are kept, and count when the target comes back.
    run, done = expand(finished.uri, ExpansionRequest(target={"ship": 14}), **HERE)
    assert done and labels_of(run)[True] == {"ship": 9}
    assert len(Manifest.read(run).rounds) == 2


@pytest.mark.parametrize("stage", ["embed_corpus", "make_texts"])
@pytest.mark.parametrize("command", ["expand", "augment"])
def test_a_stopped_expansion_is_gone_on_with(finished, tmp_path, monkeypatch, stage, command):
    def fail(*arguments):
        raise OSError("the disk is full")

    new = write(tmp_path / "new.parquet", rows("corn", 12, 20))
    with monkeypatch.context() as patch:
        patch.setattr(expand_module, stage, fail)
        with pytest.raises(OSError, match="the disk is full"):
            expand(finished.uri, ExpansionRequest(input=str(new)), **HERE)
    assert Manifest.read(finished).is_expanding
    assert "result" not in Manifest.read(finished).stages
    new.unlink()  # its rows are in the run
    if command == "expand":
        run, done = expand(
            finished.uri, ExpansionRequest(input=str(tmp_path / "corpus.parquet")), **HERE
        )
        assert not done  # except what was in progress
    else:
        run = rounds.augment(config_of(finished), finished.uri, **HERE)
    assert is_sound(run) and not Manifest.read(run).is_expanding
    assert labels_of(run) == {False: {"corn": 20, "ship": 5}, True: {"ship": 15}}


def test_files_of_a_staging_that_was_killed_count_for_nothing(finished, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError("the disk is full")

    new = write(tmp_path / "new.parquet", rows("corn", 12, 20))
    with monkeypatch.context() as patch:
        patch.setattr(expand_module, "_note", fail)
        with pytest.raises(OSError, match="the disk is full"):
            expand(finished.uri, ExpansionRequest(input=str(new)), **HERE)
    assert len(list(Path(finished.at("corpus")).iterdir())) == 2
    assert is_sound(finished)
    other = write(tmp_path / "b.parquet", rows("bank", 0, 2))
    run, _ = expand(finished.uri, ExpansionRequest(input=str(other)), **HERE)
    assert is_sound(run)
    assert labels_of(run)[False] == {"corn": 12, "ship": 5, "bank": 2}


@pytest.mark.parametrize("owner", ["someone else", "a bucket"])
def test_an_input_that_a_stranger_may_have_named_is_not_read(
    finished, owner, monkeypatch, tmp_path
):
    if owner == "a bucket":
        uri = f"memory://{uuid.uuid4()}/run"
        pafs.copy_files(finished.path, Run(uri).path, destination_filesystem=Run(uri).fs)
    else:
        uri, mine = finished.uri, os.geteuid()
        monkeypatch.setattr("smotext_ray.run.opening.os.geteuid", lambda: mine + 1)
    corpus = tmp_path / "corpus.parquet"
    write(corpus, rows("corn", 0, 13), rows("ship", 0, 5))
    with pytest.raises(UserError, match=r"so the input that its manifest names .* is not read"):
        expand(uri, ExpansionRequest(), **HERE)
    assert not Manifest.read(Run(uri)).expansions
    assert expand(uri, ExpansionRequest(input=str(corpus)), **HERE)[1]


def test_rows_are_known_by_their_ids(tmp_path):
    corpus = write(tmp_path / "c.parquet", rows("corn", 0, 6), rows("ship", 0, 3), ids=True)
    config = fake_config(corpus, input={"path": str(corpus), "id_column": "key"})
    run = rounds.augment(config, str(tmp_path / "run"), **HERE)
    # Two rows have another text; a text that is there already has another id.
    write(corpus, rows("corn", 0, 4), rows("corn", 20, 22), rows("ship", 0, 4), ids=True)
    run, done = expand(run.uri, ExpansionRequest(), **HERE)
    assert done and is_sound(run)
    assert labels_of(run)[False] == {"corn": 6, "ship": 4}
    assert Manifest.read(run).expansions[0].changed_rows == 2
    table = pq.read_table(run.at("augmented.parquet"))
    assert table["key"].to_pylist()[:10] == [f"k{i}" for i in range(10)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a"], "other": ["b"]}, "label"),
        ({"text": ["a"], "label": [1]}, "'label'.*int64.*string"),
        ({"text": [None], "label": ["corn"]}, "text is null"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_and_changes_nothing(
    finished, tmp_path, columns, message
):
    pq.write_table(pa.table(columns), tmp_path / "new.parquet")
    before = contents(finished)
    with pytest.raises(UserError, match=message):
        expand(finished.uri, ExpansionRequest(input=str(tmp_path / "new.parquet")), **HERE)
    assert contents(finished) == before


def test_keys_of_an_address_are_not_noted():
    request, config = ExpansionRequest(input="s3://AKIA:secret@bucket/new"), RunConfig()
    manifest = new_manifest(config, {}, "2026-01-01", InputFacts(rows=0, class_counts={}))
    entry = expand_module._entry(request, config, manifest, NewRows(), 0)
    assert entry.input == "s3://bucket/new"


def test_an_empty_export_is_no_mistake(finished, tmp_path):
    schema = pa.schema([("text", pa.string()), ("label", pa.string())])
    pq.write_table(schema.empty_table(), tmp_path / "new.parquet")
    assert not expand(finished.uri, ExpansionRequest(input=str(tmp_path / "new.parquet")), **HERE)[
        1
    ]


def test_what_was_accepted_stays_accepted(finished, tmp_path):
    """More real rows than asked for: the samples are too many, and stay in samples/."""
    new = write(tmp_path / "new.parquet", rows("ship", 5, 15))
    run, done = expand(finished.uri, ExpansionRequest(input=str(new)), **HERE)
    assert done and is_sound(run)
    assert labels_of(run) == {False: {"corn": 12, "ship": 15}, True: {"corn": 3}}
    assert Manifest.read(run).accepted() == {"ship": 7, "corn": 3}


@pytest.mark.parametrize("written", ["before the staging", "after a kill"])
def test_an_input_that_changed_with_as_many_rows_is_not_staged(tmp_path, monkeypatch, written):
    corpus = write(tmp_path / "corpus.parquet", rows("corn", 0, 12), rows("ship", 0, 5))
    config = fake_config(corpus)
    stage = embed.stage_corpus
    other = (rows("corn", 0, 11), rows("ship", 0, 6))

    def changes(*arguments, **named):
        if written == "after a kill":
            raise RuntimeError("killed")
        write(corpus, *other)
        return stage(*arguments, **named)

    monkeypatch.setattr(embed, "stage_corpus", changes)
    with pytest.raises((RuntimeError, UserError), match=r"killed|changed while it was read"):
        rounds.augment(config, str(tmp_path / "run"), **HERE)
    monkeypatch.setattr(embed, "stage_corpus", stage)
    # Other classes, and then the classes of old with one text changed.
    for parts in (other, (rows("corn", 1, 13), rows("ship", 0, 5))):
        write(corpus, *parts)
        with pytest.raises(UserError, match="has changed since the run started"):
            rounds.augment(config, str(tmp_path / "run"), **HERE)
    write(corpus, rows("corn", 0, 12), rows("ship", 0, 5))
    run = rounds.augment(config, str(tmp_path / "run"), **HERE)
    assert is_sound(run) and "digest" not in run.read("manifest.json").decode()


def test_an_expansion_that_another_process_began_and_left_is_finished_first(
    finished, tmp_path, monkeypatch
):
    """It began between the look at the run and the lease."""
    write(tmp_path / "corpus.parquet", rows("corn", 0, 12), rows("ship", 0, 6))
    opened, died = expand_module.open_checked, []

    def begins_and_dies(*arguments):
        if not died:
            died.append(1)
            with pytest.raises(RuntimeError, match="killed"), monkeypatch.context() as patch:
                patch.setattr(expand_module, "make_texts", killed)
                expand(finished.uri, ExpansionRequest(), **HERE)
        return opened(*arguments)

    def killed(*arguments):
        raise RuntimeError("killed")

    monkeypatch.setattr(expand_module, "open_checked", begins_and_dies)
    _, done = expand(finished.uri, ExpansionRequest(), **HERE)
    manifest = Manifest.read(finished)
    assert not done  # nothing is left to do once it is finished
    assert manifest.is_finished(manifest.config) and not manifest.is_expanding
    assert is_sound(finished) and manifest.class_counts["ship"] == 6


def test_rows_of_a_csv_fit_the_types_that_a_run_has(tmp_path):
    """A run may have typed its columns more eagerly, or have been made from parquet."""
    labels = [True] * 6 + [False] * 4
    texts = [f"text number {i}" for i in range(10)]
    prices = [i / 4 for i in range(10)]
    corpus = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"text": texts, "label": labels, "price": prices}), corpus)
    home = str(tmp_path / "run")
    rounds.augment(fake_config(corpus), home, **HERE)
    more = tmp_path / "more.csv"
    more.write_text("text,label,price\nnew one,true,1.50\nnew two,FALSE,2\n")
    run, done = expand(home, ExpansionRequest(input=str(more)), **HERE)
    assert done
    table = pq.read_table(run.at("augmented.parquet"))
    own = table.filter(pc.invert(table["synthetic"]))
    assert own["price"].to_pylist() == [*prices, 1.5, 2.0]
    assert own["label"].to_pylist() == [*labels, True, False]
    more.write_text("text,label,price\nnew three,true,cheap\n")
    with pytest.raises(UserError, match="'price'"):
        expand(home, ExpansionRequest(input=str(more)), **HERE)


def test_an_input_that_was_written_since_is_told(finished, caplog, log_at_root):
    config, file = Manifest.read(finished).config, finished.path.replace("/run", "/corpus.parquet")

    def warnings():
        caplog.clear()
        rounds.augment(config, finished.uri, **HERE)
        return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]

    os.utime(file, (0, 0))
    assert warnings() == []
    os.utime(file, (4e9, 4e9))
    (sentence,) = warnings()
    assert "corpus.parquet was written after the run read it" in sentence
    os.remove(file)
    assert warnings() == []
