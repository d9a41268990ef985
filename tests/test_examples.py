"""The examples run as they stand."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from fake_run import fakes_by_default
from local_ray import local_ray

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_log")]


def output_of(name: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pipeline_with_the_sampler_is_cross_validated():
    said = output_of("cross_validate.py")
    scores = re.findall(r"^(.+): macro-F1 (0\.\d+), by fold", said, re.MULTILINE)
    assert [name for name, _ in scores] == ["real texts alone", "with SMOTExT"]
    # Texts of the rare class that are about nothing would spoil it; chance is a third.
    assert all(float(score) > 0.5 for _, score in scores)


def test_a_table_is_balanced_and_a_classifier_trained():
    said = output_of("balance_table.py")
    assert "68 texts became 80" in said
    scores = re.findall(r"^(.+): macro-F1 ([01]\.\d+)$", said, re.MULTILINE)
    assert [name for name, _ in scores] == ["real texts alone", "with new texts"]
    assert all(float(score) > 0.5 for _, score in scores)
    texts = re.findall(r"^  (?:source_id|row|neighbor_id): (.+)$", said, re.MULTILINE)
    assert len(set(texts)) == 3


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """Ray in this process, with an encoder and a decoder that load nothing."""
    with fakes_by_default(tmp_path_factory.mktemp("fakes") / "stage"), local_ray(cpus=6):
        yield


# What the stand-ins say is of no class.
LET_PASS = ("gate.min_cosine=-1", "gate.same_class=false")


@pytest.mark.cluster
def test_a_ray_data_pipeline_goes_on_with_the_new_texts(stand_ins, capsys):
    runpy.run_path(str(EXAMPLES / "ray_data.py"))["main"](*LET_PASS)
    said = capsys.readouterr().out
    counts = re.findall(r"^(\w+): (\d+) texts of \d+ words, (\d+) of them new$", said, re.MULTILINE)
    assert counts == [("crude", "16", "0"), ("grain", "16", "4")]


@pytest.mark.cluster
def test_a_corpus_that_grows_is_expanded_once(stand_ins, capsys):
    runpy.run_path(str(EXAMPLES / "growing_corpus.py"))["main"](*LET_PASS)
    said = capsys.readouterr().out
    assert "first: crude 12 (0 new), grain 12 (4 new)" in said
    assert "expanded: crude 16 (0 new), grain 16 (6 new)" in said
    assert "Nothing to do" in said and "is valid" in said
