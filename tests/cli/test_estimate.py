"""The estimate before a run: its counts are the plan's, its sizes follow from them."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest
from rich.console import Console

from smotext_ray.cli import estimate
from smotext_ray.cli.estimate import cautions, show_estimate
from smotext_ray.cluster.progress import time_in_words
from smotext_ray.config.schema import RunConfig
from smotext_ray.corpus.survey import BadRows, CorpusSummary


def survey(class_counts, bad_rows=None, mean_characters=80.0):
    return CorpusSummary(
        rows=sum(class_counts.values()),
        class_counts=class_counts,
        bad_rows=bad_rows or {},
        schema=pa.schema([]),
        mean_characters=mean_characters,
    )


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(estimate, "usable_cores", lambda: 2)


def printed(found, new_points, **sections):
    console = Console(record=True, width=100, file=io.StringIO())
    show_estimate(found, new_points, RunConfig.model_validate(sections), console)
    return " ".join(console.export_text().translate(str.maketrans("│┃", "  ")).split())


def test_classes_before_and_after():
    text = printed(survey({"grain": 41, "ship": 108}), {"grain": 67})
    assert "grain 41 67 108" in text
    assert "ship 108 0 108" in text
    assert "embed 149 of 149 texts" in text
    assert "plan 67 points" in text
    assert "Nothing was written." in text


def test_a_private_result_has_new_texts_alone_and_its_estimate_is_not_private():
    text = printed(
        survey({"grain": 41, "ship": 108}), {"grain": 67, "ship": 9}, privacy={"epsilon": 8.0}
    )
    assert "grain 41 67 67" in text and "ship 108 9 9" in text
    assert "the guarantee of privacy.epsilon does not cover them" in text


def test_of_a_class_without_points_only_the_reference_is_embedded():
    counts = {"grain": 41, "earn": 2840}
    assert "embed 1041 of 2881 texts" in printed(survey(counts), {"grain": 67})
    text = printed(survey(counts), {"grain": 67}, gate={"cleaning": "tomek"})
    assert "embed 2881 of 2881 texts" in text


def test_tokens():
    # 80 characters are 20 tokens: 10 points of 3 candidates make 600.
    text = printed(survey({"a": 5, "b": 15}), {"a": 10}, decoder={"num_candidates": 3})
    assert "10 points, 3 texts each, 600 tokens" in text
    text = printed(
        survey({"a": 5, "b": 15}, mean_characters=10_000),
        {"a": 10},
        decoder={"num_candidates": 1, "max_tokens": 96},
        bridge={"path": "bridges/mine"},
    )
    assert "960 tokens" in text
    # The default bridge writes short texts only.
    text = printed(survey({"a": 5, "b": 15}, mean_characters=10_000), {"a": 10})
    assert "10 points, 2 texts each, 600 tokens" in text


def test_what_a_user_may_not_expect():
    def said(chars, new, **sections):
        config = RunConfig.model_validate(sections)
        return cautions(survey({"a": 5, "b": 150}, mean_characters=chars), {"a": new}, config)

    assert said(80, 100) == []
    (many,) = said(80, 105)
    assert many.startswith("class 'a' would get 21 new texts per real one")
    (short,) = said(400, 1)
    assert "about 100 tokens" in short and "shorter than real ones" in short
    assert said(400, 1, bridge={"path": "bridges/mine"}) == []
    (cut,) = said(2000, 1, encoder={"max_length": 256})
    assert "about 500 tokens" in cut and "first 256" in cut
    assert "Note: class 'a' would get 29 new" in printed(survey({"a": 5, "b": 150}), {"a": 145})


def test_more_points_take_more_time():
    small = printed(survey({"a": 5, "b": 15}), {"a": 10})
    large = printed(survey({"a": 5, "b": 1_000_000}), {"a": 999_995})
    assert " s" in small and " h" not in small.split("For 2")[0]
    assert " h" in large.split("For 2")[0]


def test_nothing_to_do_takes_no_time():
    text = printed(survey({"a": 5, "b": 5}), {})
    assert "0 points, 2 texts each, 0 tokens 0 s" in text


def test_rounds_are_told():
    text = printed(survey({"a": 5, "b": 9}), {"a": 4}, plan={"max_rounds": 3})
    assert "; up to 2 more rounds replace rejected texts" in text
    text = printed(survey({"a": 5, "b": 9}), {"a": 4}, plan={"max_rounds": 1})
    assert "more round" not in text


def test_bad_rows_that_are_left_out():
    bad = {"text is null": BadRows(7, (3, 12))}
    text = printed(survey({"a": 5, "b": 9}, bad), {"a": 4})
    assert "Skipped: 7 rows whose text is null, such as 3, 12." in text


@pytest.mark.parametrize("mark", ["[bold]", "[/x]", ":smile:"])
def test_markup_in_labels_and_ids_is_shown(mark):
    bad = {"text is empty": BadRows(1, (f"id {mark}",))}
    text = printed(survey({f"a {mark}": 5, "b": 9}, bad), {f"a {mark}": 4})
    assert f"a {mark} 5 4 9" in text
    assert f"such as id {mark}." in text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")],
)
def test_times(seconds, told):
    assert time_in_words(seconds) == told


def test_the_minutes_of_an_adaptation_are_told():
    found, points = survey({"grain": 41, "ship": 108}), {"grain": 67}
    assert "adapt the bridge 3 min" in printed(found, points, adapt={"minutes": 3})
    assert "adapt" not in printed(found, points)
