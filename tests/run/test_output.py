"""Where a new run may be."""

import os

import pytest

from smotext_ray.errors import UserError
from smotext_ray.run import output
from smotext_ray.run.directory import Run
from smotext_ray.run.log import run_name
from smotext_ray.run.output import check_output


def refused(path, place):
    with pytest.raises(UserError) as caught:
        check_output(str(path), Run(str(place)))
    return str(caught.value)


def test_an_output_inside_the_input(tmp_path):
    (tmp_path / "in").mkdir()
    os.symlink(tmp_path / "in", tmp_path / "link")
    for place in ("in", "in/run", "in/a/b", "link/run", "in/../in/run"):
        assert "is inside the input" in refused(tmp_path / "in", tmp_path / place)
    assert "is inside the input" in refused(tmp_path / "in" / "**" / "*.csv", tmp_path / "in/run")
    (tmp_path / "in" / "c.csv").write_text("")
    for path in (tmp_path / "in", tmp_path / "in" / "c.csv", "demo:reuters-r8", "user/name", ""):
        check_output(str(path), Run(str(tmp_path / "input-run")))
    check_output(str(tmp_path / "in" / "c.csv"), Run(str(tmp_path / "in" / "run")))


def test_an_output_inside_an_input_in_a_bucket():
    assert "is inside" in refused("memory://corpus/", "memory://corpus/run")
    check_output("memory://corpus", Run("memory://corpus-run"))


@pytest.mark.parametrize("name", ["q?x", "h#x", "p%20x", "st*r", "br[a]", "a\nb", "\udcff"])
def test_names_that_readers_take_for_something_else(tmp_path, name):
    message = refused("", tmp_path / name / "run")
    assert "name another one" in message and "\n" not in message


@pytest.mark.parametrize("name", ["ünï", "日本", "a b", "k=v", "a,b", "it's"])
def test_other_names(tmp_path, name):
    check_output("", Run(str(tmp_path / name)))
    assert run_name(Run(str(tmp_path / name))).isascii()


def test_a_file_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    assert f"{tmp_path}/file is not a directory" in refused("", tmp_path / "file" / "run")


def test_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "not writable" in refused("", tmp_path / "new" / "run")


def test_a_relative_output_in_a_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_output("", Run("runs/first"))
    monkeypatch.setenv(output._OF_A_JOB, "{}")
    assert "relative to the job's working directory" in refused("", "runs/first")
    check_output("", Run(str(tmp_path / "runs")))
