"""The examples on Ray run as they stand, with stand-ins for the models.

`models_real/test_one_process.py` has the others.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from fake_run import fakes_by_default

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.usefixtures("own_log")]


@pytest.fixture(scope="module")
def stand_ins(shared_ray):
    """Ray in this process, with an encoder and a decoder that load nothing."""
    with fakes_by_default():
        yield


# What the stand-ins say is of no class.
LET_PASS = ("gate.min_cosine=-1", "gate.same_class=false")


def test_a_ray_data_pipeline_goes_on_with_the_new_texts(stand_ins, capsys):
    runpy.run_path(str(EXAMPLES / "ray_data.py"))["main"](*LET_PASS)
    said = capsys.readouterr().out
    counts = re.findall(r"^(\w+): (\d+) texts of \d+ words, (\d+) of them new$", said, re.MULTILINE)
    assert counts == [("crude", "16", "0"), ("grain", "16", "4")]


def test_a_corpus_that_grows_is_expanded_once(stand_ins, capsys):
    runpy.run_path(str(EXAMPLES / "growing_corpus.py"))["main"](*LET_PASS)
    said = capsys.readouterr().out
    assert "first: crude 12 (0 new), grain 12 (4 new)" in said
    assert "expanded: crude 16 (0 new), grain 16 (6 new)" in said
    assert "Nothing to do" in said and "is valid" in said
