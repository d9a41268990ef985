"""The stages after the noise: what they make of a run that has no text of its corpus."""

from __future__ import annotations

import io

import pyarrow.parquet as pq
import pytest
from fake_stages import MODELS
from handmade_run import build, config_for, corpus_table
from rich.console import Console

from smotext_ray.cli.show import show_outcome, show_samples
from smotext_ray.cli.status import show_status
from smotext_ray.config.schema import PrivacyConfig, RunConfig
from smotext_ray.config.stored import config_json
from smotext_ray.corpus.staging import stage_corpus, without_other_columns
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.errors import UserError
from smotext_ray.pipeline.actors import Actors
from smotext_ray.pipeline.local import Local
from smotext_ray.pipeline.plan_files import PlanWriter, group_item
from smotext_ray.pipeline.preflight import open_checked
from smotext_ray.plan.shards import Shard
from smotext_ray.privacy.promise import promise
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import InputFacts, StageFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import check_same, new_manifest
from smotext_ray.run.reference import build_reference, distinct_texts, load_reference
from smotext_ray.run.result import write_result
from smotext_ray.run.verify import verify

PRIVACY = PrivacyConfig(epsilon=8.0)


@pytest.fixture
def run(tmp_path):
    """A finished run as one with epsilon leaves it."""
    run = build(tmp_path, {"grain": 3})
    manifest = Manifest.read(run)
    embeddings = run.table("embeddings").to_table().drop_columns(["text"])
    for directory in ("embeddings", "corpus"):
        run.clear(directory)
    pq.write_table(embeddings, f"{run.make('embeddings')}/part-00000.parquet")
    manifest.privacy = promise(RunConfig(privacy=PRIVACY), {"name": "made"})
    manifest.stages["denoise"] = StageFacts(seconds=0.1)
    manifest.result = write_result(run, manifest, {"grain": 3})
    manifest.save(run)
    return run


def printed(show, *arguments):
    console = Console(file=io.StringIO(), width=200)
    if show in (show_outcome, show_samples):
        arguments += (Manifest.read(*arguments),)
    show(*arguments, console)
    return console.file.getvalue()


def failed(run):
    return [finding.check for finding in verify(run) if not finding.ok]


def test_the_result_holds_no_originals(run):
    table = pq.read_table(run.at("augmented.parquet"))
    assert table["synthetic"].to_pylist() == [True] * 3
    assert table["body"].to_pylist() == [f"new text {i} on grain" for i in range(3)]


def test_it_is_sound_until_a_text_turns_up(run):
    assert failed(run) == []
    run.make("corpus")
    assert failed(run) == ["privacy: the corpus's texts are gone"]


def test_a_row_that_is_there_twice_is_found(run):
    rows = run.table("embeddings").to_table()
    pq.write_table(rows.slice(0, 1), run.at("embeddings/again.parquet"))
    assert "embeddings: every needed row once" in failed(run)


def test_samples_are_shown_without_parents(run):
    shown = printed(show_samples, run)
    assert shown.count("new text") >= 3
    assert "source" not in shown and "neighbor" not in shown


@pytest.mark.parametrize("show", [show_status, show_outcome])
def test_private_is_never_said_without_epsilon_and_delta(run, show):
    told = printed(show, run)
    assert "Differentially private with epsilon 8 and delta 1e-05" in told
    assert "sensitivity is 0.7071" in told and "one record, text and label" in told
    assert "a person is in one record only" in told and "Public: the models" in told


def test_a_run_without_epsilon_does_not_say_so(tmp_path):
    told = printed(show_outcome, build(tmp_path, {"grain": 2}))
    assert "ifferentially" not in told and "delta" not in told


def test_the_gate_s_reference_knows_no_text(run):
    build_reference(run, ["grain", "ship"])
    reference = load_reference(run)
    assert len(reference.fingerprints) == 0 and not reference.holds("text 0 on grain")
    assert distinct_texts(run, ["grain", "ship"]) == {"grain": 4, "ship": 6}


def test_a_plan_without_texts_is_the_plan_of_texts_that_all_differ(run, tmp_path):
    config = config_for(tmp_path / "corpus.parquet")
    item = group_item(7, 0, [Shard(7, "grain", 0, 5, 0)])
    PlanWriter(run, config)(**item)
    bare = run.table("plan", "round-7").to_table()
    whole_run = build(tmp_path / "whole", {"grain": 3}, until="embed")
    PlanWriter(whole_run, config)(**item)
    whole = whole_run.table("plan", "round-7").to_table()
    texts = ["source_text", "neighbor_text"]
    assert bare.drop_columns(texts).equals(whole.drop_columns(texts))
    assert bare.schema == whole.schema
    assert [bare[name].null_count for name in texts] == [5, 5]
    assert [whole[name].null_count for name in texts] == [0, 0]


def test_other_columns_are_not_staged(tmp_path):
    pq.write_table(corpus_table(), tmp_path / "corpus.parquet")
    config, run = config_for(tmp_path / "corpus.parquet"), Run(str(tmp_path / "run"))
    survey = without_other_columns(survey_corpus(config.input), config.input)
    stage_corpus(config.input, survey, run.fs, run.make("corpus"))
    staged = run.table("corpus").to_table()
    assert staged.column_names == ["id", "text", "label"] and len(staged) == 10
    assert survey.schema.names == ["body", "topic"]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_other_columns_of_text_files_are_not_staged_either(tmp_path, kind):
    frame = corpus_table().to_pandas()
    file = tmp_path / f"corpus.{kind}"
    if kind == "csv":
        frame.to_csv(file, index=False)
    else:
        frame.to_json(file, orient="records", lines=True)
    config, run = config_for(file), Run(str(tmp_path / "run"))
    survey = without_other_columns(survey_corpus(config.input), config.input)
    stage_corpus(config.input, survey, run.fs, run.make("corpus"))
    assert run.table("corpus").to_table()["text"].to_pylist() == frame["body"].to_list()


def test_a_run_of_the_mechanism_before_ends_in_a_sentence(run):
    manifest = Manifest.read(run)
    manifest.privacy = manifest.privacy.model_copy(update={"neighbors": None})
    manifest.save(run)
    here = Local(Actors(check_models=lambda config: MODELS))
    with pytest.raises(UserError, match=r"an earlier mechanism of privacy\.epsilon"):
        open_checked(manifest.config, run.uri, here)
    assert Manifest.read(run).privacy.in_words()  # it can be read


# The settings


def test_without_epsilon_settings_do_not_speak_of_privacy():
    assert "privacy" not in config_json(RunConfig())
    assert config_json(RunConfig(privacy=PRIVACY))["privacy"]["epsilon"] == 8.0


@pytest.mark.parametrize(
    ("there", "here", "told"),
    [
        (RunConfig(), RunConfig(privacy=PRIVACY), "privacy.epsilon is None there, but 8.0 here"),
        (RunConfig(privacy=PRIVACY), RunConfig(), "privacy.epsilon is 8.0 there, but None here"),
        (
            RunConfig(privacy=PRIVACY),
            RunConfig(privacy=PrivacyConfig(epsilon=8.0, clip_norm=1.0)),
            "privacy.clip_norm is 0.5 there, but 1.0 here",
        ),
    ],
)
def test_a_run_is_not_gone_on_with_under_another_promise(tmp_path, there, here, told):
    run = Run(str(tmp_path))
    manifest = new_manifest(there, MODELS, "2026-01-01", InputFacts(rows=0, class_counts={}))
    with pytest.raises(UserError, match=told):
        check_same(run, manifest, here, MODELS)
    check_same(run, manifest, there, MODELS)


@pytest.mark.parametrize("given", [{"epsilon": 0}, {"delta": 1}, {"clip_norm": 0}])
def test_a_promise_that_is_none_is_refused(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        PrivacyConfig(**given)
