"""What a person reads: complete, and word for word what the run holds."""

from __future__ import annotations

import io
import re

import pytest
from handmade_run import build, corpus_table
from rich.console import Console

from smotext_ray.cli.show import show_findings, show_outcome, show_samples
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import TextLengths, WeightFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import Finding, verify

WANTED = {"grain": 3, "ship": 2}  # sample ids 0 to 2 and 3 to 4; in a second round 5 to 7, 8 to 9
MARKUP = ["[bold]x[/bold]", "[/x]", "[red", ":smile:", "a\\[b]", "[link=http://x]y"]


def printed(function, *arguments, **options):
    """What the function prints, with the table's lines and breaks taken out."""
    console = Console(record=True, width=80, file=io.StringIO())
    if function in (show_outcome, show_samples):
        arguments += (Manifest.read(*arguments),)
    function(*arguments, console, **options)
    text = console.export_text()
    assert all(len(line) <= 80 for line in text.splitlines() if line[:1] in "│┃┏└")
    return text


def words(text):
    """The text on one line, whatever the table around it."""
    return " ".join(text.translate(str.maketrans("│┃", "  ")).split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("view")
    return build(
        directory,
        WANTED,
        rounds=2,
        rejected={0: "empty", 5: "truncated", 6: "truncated"},
        errors=[9],
    )


# Outcome


def test_outcome(finished):
    text = words(printed(show_outcome, finished))
    assert "grain 4 3 3 7" in text  # before, requested, accepted, after
    assert "ship 6 2 3 8" in text  # one more accepted than requested
    assert "truncated truncated at decoder.max_tokens 2" in text
    assert "empty no words 1" in text
    assert "error decoding failed 1" in text
    assert "embed 2.0 5" in text
    assert "decode round 2 4.0 1.2 100" in text
    assert text.count("synthetic new text") == 3
    assert "augmented.parquet (15 rows)." in text
    assert "short of its target" not in text


def test_outcome_explains_its_numbers_and_names_the_next_commands(finished, tmp_path):
    text = words(printed(show_outcome, finished))
    assert "Class 'grain': 4 + 3 = 7 rows." in text
    assert "The gate accepted 6 of 10 decoded texts (60%): these match" in text
    assert f"Next: smotext show {finished.uri} --order worst smotext evaluate --run" in text
    assert "left out" not in words(printed(show_outcome, build(tmp_path / "a", WANTED)))
    more = words(printed(show_outcome, build(tmp_path / "b", WANTED, rounds=2)))
    assert "4 + 3 = 7 rows; 3 more were accepted than requested, and left out." in more


def test_the_weights_of_a_variant_are_in_the_table_of_times(tmp_path):
    run = build(tmp_path, WANTED)
    manifest = Manifest.read(run)
    manifest.weights = WeightFacts(files={}, seconds=1.25)
    manifest.save(run)
    assert "weigh 1.2" in words(printed(show_outcome, run))


def test_outcome_says_which_class_fell_short_and_why(tmp_path):
    run = build(tmp_path, WANTED, rejected={0: "empty", 1: "truncated", 2: "truncated"})
    text = words(printed(show_outcome, run))
    assert (
        "Class 'grain' is 3 short of its target; rejected in 1 rounds: 2 truncated, 1 empty."
        in text
    )


def test_outcome_without_rejections(tmp_path):
    assert "Rejected" not in printed(show_outcome, build(tmp_path, WANTED))


# Samples


def test_a_sample_stands_with_its_parents(finished):
    plan = finished.table("plan").to_table().to_pylist()
    planned = {row["sample_id"]: row for row in plan}
    text = words(printed(show_samples, finished, rows=1, order="best"))
    parents = planned[7]
    assert f"source {parents['source_text']} neighbor {parents['neighbor_text']}" in text
    assert "synthetic new text 7 on grain" in text
    assert f"grain (sample 7; cosine to point 0.51, lam {parents['lam']:.2f})" in text


def test_the_best_of_each_class_by_turns(finished):
    text = printed(show_samples, finished, rows=4, order="best")
    assert text.startswith("Accepted texts, closest to their points first:")
    order = [text.index(f"(sample {i};") for i in (7, 8, 2, 4)]
    assert order == sorted(order)
    assert text.count("(sample") == 4


def shown_ids(run, **given):
    return re.findall(r"\(sample (\d+);", printed(show_samples, run, **given))


def test_the_worst_first_and_a_random_draw(finished):
    best, worst = (shown_ids(finished, rows=100, order=order) for order in ("best", "worst"))
    assert [worst[i::2] for i in (0, 1)] == [best[i::2][::-1] for i in (0, 1)]
    drawn = shown_ids(finished, rows=100)
    assert sorted(drawn) == sorted(best) and drawn not in (best, worst)
    assert shown_ids(finished, rows=3) == drawn[:3]
    assert printed(show_samples, finished).startswith("Accepted texts, drawn at random:")


def test_how_many_were_shown(finished):
    console = Console(record=True, width=80, file=io.StringIO())
    manifest = Manifest.read(finished)
    assert show_samples(finished, manifest, console, rows=2) == 2
    assert show_samples(finished, manifest, console, rows=100) == 6
    assert show_samples(finished, manifest, console, label="ship") == 3
    assert show_samples(finished, manifest, console, label="no such") == 0
    assert show_samples(finished, manifest, console, rows=0) == 0


def test_rejected_samples_come_with_their_reason(finished):
    text = words(printed(show_samples, finished, status="rejected"))
    assert text.count("rejected: truncated)") == 2 and text.count("rejected: empty)") == 1


def test_a_run_without_samples_shows_none(tmp_path):
    console = Console(record=True, width=80, file=io.StringIO())
    for until in ("embed", "plan"):
        run = build(tmp_path / until, WANTED, until=until)
        assert show_samples(run, Manifest.read(run), console) == 0


def test_a_long_text_is_cut(tmp_path):
    run = build(tmp_path, {"ship": 2}, text_of=lambda i, label: f"{i} word\n" * 500)
    text = printed(show_samples, run)
    assert "..." in text and len(text.splitlines()) < 40


# Markup


@pytest.fixture(scope="module", params=range(len(MARKUP)), ids=MARKUP)
def marked_up(request, tmp_path_factory):
    """A run whose every name and text holds what rich could read as markup."""
    mark = MARKUP[request.param]
    corpus = corpus_table(label_of={"grain": f"g {mark}", "ship": f"s {mark}"})
    at = corpus.column_names.index("body")
    corpus = corpus.set_column(at, "body", [[f"body {i} {mark}" for i in range(len(corpus))]])
    run = build(
        tmp_path_factory.mktemp("markup") / "d",
        {f"g {mark}": 2, f"s {mark}": 2},
        corpus=corpus,
        rejected={0: "empty", 1: "empty"},
        text_of=lambda i, label: f"child {i} {mark}",
    )
    manifest = Manifest.read(run)
    manifest.warnings = [f"Class 'g {mark}' is odd."]
    manifest.save(run)
    return run, mark


def test_markup_is_shown_and_not_obeyed(marked_up):
    run, mark = marked_up
    outcome = words(printed(show_outcome, run))
    assert f"g {mark} 4 2 0 4" in outcome and f"s {mark} 6 2 2 8" in outcome
    assert f"Note: Class 'g {mark}' is odd." in outcome
    assert f"Class {f'g {mark}'!r} is 2 short of its target" in outcome
    samples = words(printed(show_samples, run))
    assert f"s {mark} (sample 3;" in samples
    assert f"child 3 {mark}" in samples
    assert samples.count(mark) == 2 * 4


def test_markup_in_the_address_of_a_run(tmp_path):
    run = build(tmp_path / "[/x]", WANTED)
    assert "[/x]" in words(printed(show_outcome, run))


def test_a_long_path_is_printed_in_one_piece(tmp_path):
    run = build(tmp_path / ("long" * 20), WANTED)
    assert f"Result: {run.path}/augmented.parquet (15 rows)." in printed(show_outcome, run)


def test_a_stage_whose_time_is_not_told_has_no_rate(tmp_path):
    run = build(tmp_path, WANTED)
    manifest = Manifest.read(run)
    manifest.stages["embed"] = manifest.stages["embed"].model_copy(update={"seconds": 0.0})
    # A killed process had written all rows and not noted them.
    first = manifest.rounds[0]
    found = first.decode.model_copy(update={"seconds": 0.0, "tokens": 0})
    manifest.rounds[0] = first.model_copy(update={"decode": found})
    manifest.save(run)
    assert "embed" not in printed(show_outcome, run).partition("Time")[2].partition("Accepted")[0]


def test_texts_that_are_far_shorter_than_the_real_ones_are_noted(tmp_path):
    run = build(tmp_path, WANTED)
    manifest = Manifest.read(run)
    assert "times shorter" not in printed(show_outcome, run)
    result = manifest.result.model_copy(
        update={
            "real_words": TextLengths(low=40, median=90, high=200),
            "synthetic_words": TextLengths(low=9, median=20, high=30),
        }
    )
    manifest.result = result
    manifest.save(run)
    text = printed(show_outcome, run)
    assert "real (of these classes) 40 / 90 / 200, synthetic 9 / 20 / 30." in text
    assert "Note: the synthetic texts are 4.5 times shorter" in text


def test_findings(finished):
    text = words(printed(show_findings, verify(finished)))
    assert "result: unique sample ids ok 5 new" in text
    text = words(printed(show_findings, [Finding("plan [/x]", False, "[bold] 1 changed")]))
    assert "plan [/x] FAILED [bold] 1 changed" in text


def test_a_class_whose_label_is_a_number(tmp_path):
    run = build(tmp_path, {7: 2}, corpus=corpus_table(label_of={"grain": 7, "ship": 3}))
    assert "7 4 2 2 6" in words(printed(show_outcome, Run(run.uri)))
    assert "7 (sample 1;" in words(printed(show_samples, run, label="7"))


def test_all_neighbors_of_a_mixture_are_shown(tmp_path):
    run = build(tmp_path, WANTED, plan={"neighbors_per_point": 3})
    text = printed(show_samples, run, rows=5)
    assert text.count("neighbor") == 5 * 3 and text.count("source") == 5
