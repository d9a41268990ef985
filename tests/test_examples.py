"""The examples that make runs do so as they stand, with stand-ins for the models.

`models_real/test_one_process.py` has the others.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from fake_run import HERE, fakes_by_default, fakes_told

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = pytest.mark.usefixtures("own_log")


# What the stand-ins say is of no class.
LET_PASS = ("gate.min_cosine=-1", "gate.same_class=false")


@pytest.mark.slow
@pytest.mark.cluster
def test_a_ray_data_pipeline_continues_with_the_new_texts(shared_ray, capsys):
    with fakes_by_default():
        runpy.run_path(str(EXAMPLES / "ray_data.py"))["main"](*LET_PASS)
    said = capsys.readouterr().out
    counts = re.findall(r"^(\w+): (\d+) texts of \d+ words, (\d+) of them new$", said, re.MULTILINE)
    assert counts == [("crude", "16", "0"), ("grain", "16", "4")]


def test_a_corpus_that_grows_is_expanded_once(tmp_path, capsys):
    with fakes_told(tmp_path / "stage"), fakes_by_default(**HERE):
        runpy.run_path(str(EXAMPLES / "growing_corpus.py"))["main"](*LET_PASS)
    said = capsys.readouterr().out
    assert "first: crude 12 (0 new), grain 12 (4 new)" in said
    assert "expanded: crude 16 (0 new), grain 16 (6 new)" in said
    assert "Nothing to do" in said and "is valid" in said
