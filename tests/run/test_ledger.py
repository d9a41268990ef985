"""The ledger of a corpus counts every release, and refuses one too many."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.run import ledger
from smotext_ray.run.directory import Run
from smotext_ray.run.ledger import SUFFIX, Ledger, default_place

HERE, THEN = "2026-01-01", "2026-01-02"


def config(tmp_path, epsilon=1.0, **privacy):
    (tmp_path / "corpus.csv").write_text("text,label\n")
    given = {"epsilon": epsilon, **privacy}
    path = str(tmp_path / "corpus.csv")
    return RunConfig.model_validate({"input": {"path": path}, "privacy": given})


def test_it_is_beside_the_input(tmp_path):
    one = config(tmp_path)
    Ledger(one).charge(Run(str(tmp_path / "run")), HERE, one)
    (file,) = (tmp_path / f"corpus.csv{SUFFIX}").iterdir()
    content = json.loads(file.read_text())
    assert content["run"] == str(tmp_path / "run") and content["epsilon"] == 1.0


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/data/corpus/", f"/data/corpus{SUFFIX}"),
        ("/data/part-*.csv", f"/data{SUFFIX}"),
        ("s3://bucket/corpus?region=x", f"s3://bucket/corpus{SUFFIX}?region=x"),
        ("file:/data/a.csv", f"file:/data/a.csv{SUFFIX}"),
    ],
)
def test_it_is_beside_inputs_of_many_files_too(path, place, monkeypatch):
    monkeypatch.setattr("smotext_ray.run.ledger.find_files", lambda path: object())
    assert default_place(path) == place


def test_a_demo_s_is_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SMOTEXT_CACHE", str(tmp_path))
    assert Path(default_place("demo:reuters-r8")).parent == tmp_path / "ledgers"


def test_a_second_release_is_refused_until_the_budget_allows_it(tmp_path):
    one = config(tmp_path)
    Ledger(one).charge(Run(str(tmp_path / "a")), HERE, one)
    with pytest.raises(UserError, match=r"released 1 time before; once more makes epsilon 1\.4"):
        Ledger(one).charge(Run(str(tmp_path / "b")), THEN, one)
    assert len(Ledger(one).entries()) == 1
    more = config(tmp_path, budget=1.5)
    Ledger(more).charge(Run(str(tmp_path / "b")), THEN, more)
    assert len(Ledger(one).entries()) == 2
    with pytest.raises(UserError, match="released 2 times before"):
        Ledger(more).charge(Run(str(tmp_path / "c")), THEN, more)


def test_a_larger_epsilon_covers_a_smaller_one_before(tmp_path):
    small, large = config(tmp_path, 0.5), config(tmp_path, 8.0, budget=8.2)
    Ledger(small).charge(Run(str(tmp_path / "a")), HERE, small)
    Ledger(large).charge(Run(str(tmp_path / "b")), THEN, large)
    with pytest.raises(UserError, match=r"privacy\.budget"):
        Ledger(small).charge(Run(str(tmp_path / "c")), THEN, small)


def test_a_run_whose_noise_was_lost_is_charged_again(tmp_path):
    one, run = config(tmp_path), Run(str(tmp_path / "a"))
    Ledger(one).charge(run, HERE, one)
    with pytest.raises(UserError, match="this run's, whose noise was drawn and lost"):
        Ledger(one).charge(run, HERE, one)


def test_of_two_processes_at_once_none_exceeds_the_budget(tmp_path, monkeypatch):
    one = config(tmp_path)
    first, second = Ledger(one), Ledger(one)
    check, checks = ledger._check, []

    def other_is_faster(*arguments):
        check(*arguments)
        if not checks:
            checks.append(True)
            second.charge(Run(str(tmp_path / "b")), THEN, one)

    monkeypatch.setattr(ledger, "_check", other_is_faster)
    with pytest.raises(UserError, match="released 1 time before"):
        first.charge(Run(str(tmp_path / "a")), HERE, one)
    (entry,) = first.entries()
    assert entry.run == str(tmp_path / "b")


def test_a_damaged_ledger_stops_all_releases(tmp_path):
    one = config(tmp_path)
    place = tmp_path / f"corpus.csv{SUFFIX}"
    place.mkdir()
    (place / "odd.json").write_text('{"run": "a"}')
    with pytest.raises(UserError, match="damaged file"):
        Ledger(one).charge(Run(str(tmp_path / "a")), HERE, one)


def test_a_place_that_cannot_be_written_stops_the_release(tmp_path):
    (tmp_path / "file").touch()
    one = config(tmp_path, ledger=str(tmp_path / "file" / "ledger"))
    with pytest.raises(UserError, match=r"nothing is released; name a directory"):
        Ledger(one).charge(Run(str(tmp_path / "a")), HERE, one)
