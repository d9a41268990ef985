"""Commands that are to end before Ray is started, and what they say."""

from __future__ import annotations

import pytest
from fake_stages import MODELS
from two_class_csv import csv

from smotext_ray.cli.main import main
from smotext_ray.cluster import session
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.actors import Actors
from smotext_ray.pipeline.on_ray import OnRay

NO_MODELS = OnRay(Actors(check_models=lambda config: MODELS))


@pytest.fixture
def no_ray(monkeypatch):
    def connect():
        raise AssertionError("this was to be refused before Ray is started")

    monkeypatch.setattr(session, "connect", connect)


@pytest.fixture
def corpus(tmp_path):
    return csv(tmp_path / "corpus.csv")


@pytest.fixture
def output(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def refused(capsys):
    """Run a command that is to be refused; returns its sentence."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments], NO_MODELS)
        out, err = capsys.readouterr()
        assert code == 2, err
        assert out == ""
        assert err.startswith("smotext: error: ") and err.count("\n") == 1
        assert "Traceback" not in err
        return err.removeprefix("smotext: error: ").rstrip("\n")

    return run


@pytest.fixture
def printed(capsys):
    """Run a command; returns its exit code and what it printed, without table lines."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments], NO_MODELS)
        out = capsys.readouterr().out
        return code, " ".join(out.translate(str.maketrans("│┃", "  ")).split())

    return run


@pytest.fixture
def augment(monkeypatch, corpus, output):
    """The command, with another function in place of the pipeline's."""

    def run(function):
        monkeypatch.setattr(rounds, "augment", function)
        return main(["augment", "--input", str(corpus), "--output", str(output)])

    return run
