"""Runs over rows with several labels: from lists to lists, stopped and resumed, grown, refused."""

from __future__ import annotations

import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crashing_store import URI, Bucket, Killed, process_on
from fake_run import HERE, fake_config, fakes_told
from rich.console import Console
from tagged_corpus import COUNTS, tagged_table, write_tagged

from smotext_ray.cli.show import show_outcome, show_samples
from smotext_ray.errors import UserError
from smotext_ray.pipeline import preflight, rounds
from smotext_ray.pipeline.expand import ExpansionRequest, expand
from smotext_ray.pipeline.repair import repair
from smotext_ray.plan.multilabel import mean_imbalance_ratio
from smotext_ray.run.card import card_text
from smotext_ray.run.class_outcomes import class_outcomes
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify
from smotext_ray.tables import label_pairs

SOME = 10  # points at which the run is stopped
ASKED = {"grain": 30, "wheat": 30, "ship": 40}


@pytest.fixture(scope="module", autouse=True)
def fakes(tmp_path_factory):
    with fakes_told(tmp_path_factory.mktemp("fakes") / "stage"):
        yield


def augmented(tmp_path, **sections):
    """The manifest, result and directory of a run over the tagged corpus."""
    corpus = write_tagged(tmp_path / "corpus.parquet")
    run = rounds.augment(fake_config(corpus, **sections), str(tmp_path / "run"), **HERE)
    return Manifest.read(run), pq.read_table(f"{run.path}/augmented.parquet"), run


def counts_of(labels):
    return {e["values"]: e["counts"] for e in label_pairs(labels)[1].value_counts().to_pylist()}


def test_lists_in_lists_out_with_the_rare_labels_raised(tmp_path):
    manifest, result, run = augmented(tmp_path, plan={"sampling_strategy": ASKED})
    source = tagged_table()
    assert manifest.class_counts == COUNTS and manifest.shortfall == {}
    assert result.schema.field("label").type == source.schema.field("label").type
    assert (
        result.slice(0, 60)
        .select(source.column_names)
        .equals(source.cast(result.select(source.column_names).schema))
    )
    after = counts_of(result["label"])
    assert all(after[label] >= number for label, number in ASKED.items())
    assert mean_imbalance_ratio(after) < mean_imbalance_ratio(COUNTS) / 2
    new = result.filter(result["synthetic"])
    assert min(map(len, new["label"].to_pylist())) >= 1
    assert all(finding.ok for finding in verify(run))
    assert {found.label: found.after for found in class_outcomes(manifest)} == after


def test_a_text_counts_for_each_of_its_labels(tmp_path):
    """Fewer texts are made than labels are missing, and the rarest label is made first."""
    manifest, result, _ = augmented(tmp_path, plan={"sampling_strategy": ASKED})
    missing = sum(number - COUNTS[label] for label, number in ASKED.items())
    made = result["synthetic"].to_pylist().count(True)
    assert made < missing
    plan = pq.read_table(tmp_path / "run" / "plan" / "round-1").sort_by("sample_id")
    assert counts_of(plan["label"]) == manifest.rounds[0].planned
    assert manifest.rounds[0].planned["wheat"] == ASKED["wheat"] - COUNTS["wheat"]
    for row in plan.to_pylist():
        assert row["label"] in row["labels"]


def test_the_labels_of_a_point_are_those_of_most_of_its_neighborhood(tmp_path):
    _, _, run = augmented(tmp_path, plan={"sampling_strategy": ASKED, "label_sets": "intersection"})
    strict = run.table("plan", "round-1").to_table().sort_by("sample_id")
    labels = dict(enumerate(tagged_table()["label"].to_pylist()))
    for row in strict.to_pylist():
        assert set(row["labels"]) <= set(labels[row["source_id"]])
        assert set(row["labels"]) <= set(labels[row["neighbor_id"]])
    assert strict["labels"].type == pa.list_(pa.string())


def test_auto_raises_minority_labels_to_the_mean_ratio(tmp_path):
    manifest, result, _ = augmented(tmp_path)
    assert set(manifest.targets) == {"grain", "wheat"}
    after, mean = counts_of(result["label"]), mean_imbalance_ratio(COUNTS)
    for label in manifest.targets:
        assert COUNTS["earn"] / after[label] <= mean


def test_stopped_anywhere_and_resumed_it_ends_as_if_it_had_not_been(tmp_path):
    config = fake_config(
        write_tagged(tmp_path / "corpus.parquet"),
        plan={"sampling_strategy": ASKED},
        resources={"plan_points_per_file": 8, "embed_rows_per_block": 16},
    )
    whole = Bucket()
    with process_on(whole):
        rounds.augment(config, URI, **HERE)
        expected = rows_there()
    assert whole.steps > 50
    for stop in np.linspace(0, whole.steps - 1, SOME).astype(int).tolist():
        store = Bucket()
        with process_on(store, stop_at=stop), pytest.raises(Killed):
            rounds.augment(config, URI, **HERE)
        with process_on(store):
            rounds.augment(config, URI, **HERE)
            assert rows_there() == expected, stop
            assert all(finding.ok for finding in verify(Run(URI))), stop


def rows_there():
    run = Run(URI)
    with run.fs.open_input_file(run.at("augmented.parquet")) as stream:
        return pq.read_table(stream).to_pylist()


def test_a_grown_corpus_is_topped_up(tmp_path):
    """New rows count for each of their labels, and rows that are there are known again."""
    manifest, _, run = augmented(tmp_path, plan={"sampling_strategy": ASKED})
    write_tagged(tmp_path / "corpus.parquet", 75)
    target = {label: number + 10 for label, number in ASKED.items()}
    expand(run.uri, ExpansionRequest(str(tmp_path / "corpus.parquet"), target), **HERE)
    manifest = Manifest.read(run)
    result = pq.read_table(f"{run.path}/augmented.parquet")
    assert manifest.last_expansion.new_rows == 15 and manifest.input.rows == 75
    assert manifest.class_counts == counts_of(tagged_table(75)["label"])
    after = counts_of(result["label"])
    assert all(after[label] >= number for label, number in target.items())
    assert all(finding.ok for finding in verify(run))


def test_joined_strings_and_columns_of_0_and_1_come_back_as_such(tmp_path):
    table, order = tagged_table(), ("earn", "grain", "ship", "wheat")
    sets = table["label"].to_pylist()
    joined = table.set_column(1, "label", pa.array("|".join(each) for each in sets))
    pq.write_table(joined, tmp_path / "joined.parquet")
    columns = table.drop_columns(["label"])
    for name in order:
        columns = columns.append_column(name, pa.array([int(name in each) for each in sets]))
    pq.write_table(columns, tmp_path / "columns.parquet")
    asked = {"sampling_strategy": ASKED}
    results = {}
    for name, settings in {
        "joined": {"label_delimiter": "|"},
        "columns": {"label_columns": order},
    }.items():
        config = fake_config(tmp_path / f"{name}.parquet", input=settings, plan=asked)
        run = rounds.augment(config, str(tmp_path / name), **HERE)
        assert all(finding.ok for finding in verify(run))
        results[name] = pq.read_table(f"{run.path}/augmented.parquet")
        assert "input.label_delimiter" in card_text(Manifest.read(run)) or name == "columns"
    new = [row for row in results["joined"].to_pylist() if row["synthetic"]]
    binary = [row for row in results["columns"].to_pylist() if row["synthetic"]]
    assert [row["label"].split("|") for row in new] == [
        [name for name in order if row[name]] for row in binary
    ]
    assert results["columns"].schema.field("grain").type == pa.int64()


def test_synthetic_texts_of_no_label_outvote_its_real_ones(tmp_path):
    _, result, _ = augmented(tmp_path, plan={"sampling_strategy": ASKED})
    weight = dict.fromkeys(COUNTS, 0.0)
    for row in result.filter(result["synthetic"]).to_pylist():
        for label in row["label"]:
            weight[label] += row["sample_weight"]
    assert all(weight[label] <= COUNTS[label] + 1e-4 for label in COUNTS)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"plan": {"variant": "borderline"}}, "plan.variant=borderline is for rows of one class"),
        ({"gate": {"cleaning": "enn"}}, "gate.cleaning=enn is for rows of one class"),
        ({"privacy": {"epsilon": 3}}, "privacy.epsilon is for rows of one class"),
        ({"plan": {"sampling_strategy": "all"}}, "use auto, or a JSON object"),
        ({"plan": {"sampling_strategy": {"corn": 9}}}, "unknown class 'corn'"),
        ({"plan": {"sampling_strategy": {"ship": 9}}}, "already has 20"),
    ],
)
def test_what_is_of_one_class_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, sections, said
):
    # The fakes have no directions.
    monkeypatch.setattr(preflight, "check_directions", lambda *given: {"name": "", "sha256": ""})
    config = fake_config(write_tagged(tmp_path / "corpus.parquet"), **sections)
    with pytest.raises(UserError) as caught:
        rounds.augment(config, str(tmp_path / "run"), **HERE)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_missing_files_are_made_again(tmp_path):
    _, result, run = augmented(tmp_path, plan={"sampling_strategy": ASKED})
    for directory in ("embeddings", "plan/round-1", "samples/round-1"):
        for file in (tmp_path / "run" / directory).glob("*.parquet"):
            file.unlink()
    assert not all(finding.ok for finding in verify(run))
    assert all(finding.ok for finding in repair(run, **HERE))
    assert pq.read_table(f"{run.path}/augmented.parquet").equals(result)


def test_the_card_and_the_closing_table_tell_of_labels(tmp_path):
    manifest, _, run = augmented(
        tmp_path, plan={"sampling_strategy": ASKED, "max_rounds": 1}, gate={"same_class": True}
    )
    assert manifest.rejections()["wrong_class"]
    console = Console(width=200, record=True, file=io.StringIO())
    show_outcome(run, manifest, console)
    shown, card = console.export_text(), card_text(manifest)
    for told in (shown, card):
        assert "MeanIR): 6.08 before" in told and "closer to texts without its label" in told
    assert "## Labels" in card and "| label | its labels |" in card
    assert re.search(r"Label 'wheat' is \d+ short of its target", shown)
    accepted = manifest.usable_texts
    assert f"accepted {accepted} of {manifest.points} decoded texts" in shown
    assert accepted == manifest.points - sum(manifest.rejections().values())


def test_texts_are_shown_by_any_of_their_labels(tmp_path):
    manifest, _, run = augmented(tmp_path, plan={"sampling_strategy": ASKED})
    console = Console(width=200, record=True, file=io.StringIO())
    # No point is made for it.
    assert show_samples(run, manifest, console, label="earn") > 0
    assert "earn, " in console.export_text()
    assert show_samples(run, manifest, console, label="corn") == 0
