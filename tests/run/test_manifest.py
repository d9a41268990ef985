"""The typed manifest is the JSON of runs that are there, key for key; its questions on one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.run.class_outcomes import ClassOutcome, class_outcomes
from smotext_ray.run.directory import MANIFEST, Run
from smotext_ray.run.facts import BegunControl, DecodedControl, InputFacts, StageFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import check_same, new_manifest

# Of a run with epsilon and a variant: two rounds, then an expansion with a third, and controls.
STORED = json.loads((Path(__file__).parent / "manifest.json").read_text())


def run_with(tmp_path, content) -> Run:
    run = Run(str(tmp_path))
    run.write(json.dumps(content).encode(), MANIFEST)
    return run


@pytest.fixture
def run(tmp_path) -> Run:
    return run_with(tmp_path, STORED)


@pytest.fixture
def manifest(run) -> Manifest:
    return Manifest.read(run)


def saved(manifest, run):
    manifest.save(run)
    return json.loads(run.read(MANIFEST))


def test_what_is_read_is_written_again_key_for_key(manifest, run):
    assert saved(manifest, run) == STORED


@pytest.mark.parametrize(
    "missing",
    [
        *("privacy", "embedded", "weights", "expansions"),
        *("controls", "targets", "result", "shortfall"),
    ],
)
def test_a_key_that_is_not_there_is_not_written(tmp_path, missing):
    content = {key: value for key, value in STORED.items() if key != missing}
    run = run_with(tmp_path, content)
    assert saved(Manifest.read(run), run) == content


@pytest.mark.parametrize("labels", [[1, 2], [True, False], ["1", "true"]])
def test_labels_keep_their_types(manifest, run, labels):
    manifest.targets = dict.fromkeys(labels, 3)
    manifest.save(run)
    again = Manifest.read(run).targets
    assert list(again) == labels and [type(k) for k in again] == [type(k) for k in labels]


def test_the_questions(manifest):
    assert manifest.is_private and manifest.labels == ["corn", "ship"]
    assert manifest.accepted() == {"ship": 44} and manifest.planned() == {"ship": 47}
    assert manifest.points == 47 and manifest.round_numbers == [1, 2, 3]
    assert manifest.rejections() == {"truncated": 1, "empty": 1, "error": 1}
    assert manifest.undecoded_round is None and manifest.rounds_used == 1
    assert not manifest.is_expanding and manifest.is_finished(manifest.config)
    assert class_outcomes(manifest) == [
        ClassOutcome("corn", 60, 0, 0, 0),
        ClassOutcome("ship", 15, 45, 44, 44),
    ]
    assert isinstance(manifest.controls["lam_0"], DecodedControl)
    assert manifest.controls["shuffled"] == BegunControl(points=47)


def test_an_expansion_overrides_settings(manifest):
    effective = manifest.effective_config
    assert effective.plan.sampling_strategy == {"ship": 60}
    assert effective.neighbors.on_singleton_class == "skip"
    assert effective.plan.seed == manifest.config.plan.seed == 3
    manifest.expansions = None
    assert manifest.effective_config == manifest.config
    assert manifest.rounds_used == 3 and not manifest.is_expanding


def test_a_run_in_progress(manifest):
    manifest.rounds[-1].decode = None
    manifest.expansions[-1].finished = None
    assert manifest.undecoded_round is manifest.rounds[-1]
    assert manifest.is_expanding and not manifest.is_finished(manifest.config)
    assert manifest.accepted() == {"ship": 24}
    del manifest.stages["result"]
    manifest.expansions = None
    assert not manifest.is_finished(manifest.config)


def test_rounds_that_are_left_are_a_reason_to_go_on(manifest):
    manifest.expansions = None
    for most, is_finished in ((3, True), (4, False)):
        config = RunConfig(plan={"max_rounds": most})
        assert manifest.is_finished(config) == is_finished
    manifest.shortfall = {}
    assert manifest.is_finished(RunConfig(plan={"max_rounds": 4}))


def test_it_is_resumed_with_its_own_settings_only(manifest, run):
    check_same(run, manifest, manifest.config, manifest.models)
    with pytest.raises(UserError, match=r"plan\.seed is 3 there, but 0 here"):
        other = manifest.config.model_copy(update={"plan": RunConfig().plan})
        other = RunConfig.model_validate(
            other.model_dump() | {"plan": manifest.config.plan.model_dump() | {"seed": 0}}
        )
        check_same(run, manifest, other, manifest.models)


@pytest.mark.parametrize(
    "change",
    [
        {"sharpness": 3},
        {"stages": {"polish": {"seconds": 1.0}}},
        {"input": {"rows": "many"}},
        {"config": {"plan": {"shape": "round"}}},
    ],
)
def test_a_manifest_of_a_newer_version_is_one_sentence(tmp_path, change):
    run = run_with(tmp_path, STORED | change)
    with pytest.raises(UserError, match="is from another version of smotext") as caught:
        Manifest.read(run)
    assert "\n" not in str(caught.value) and str(caught.value).endswith("or a new directory.")
    assert next(iter(change)) in str(caught.value)


@pytest.mark.parametrize("label", [b"corn", None, ("corn",)])
def test_a_label_of_another_type_is_an_error_where_it_is_set(manifest, label):
    with pytest.raises(ValueError):
        manifest.targets = {label: 1}


def test_a_value_of_another_type_is_an_error_on_saving_and_the_old_manifest_stays(manifest, run):
    manifest.stages["result"] = StageFacts.model_construct(seconds="1 s")
    with pytest.raises(ValueError):
        manifest.save(run)
    assert json.loads(run.read(MANIFEST)) == STORED


def test_keys_of_an_address_are_not_kept(tmp_path):
    config = RunConfig(input={"path": "s3://AKIA:secret@bucket/in.csv"})
    manifest = new_manifest(config, {}, "2026-01-01", InputFacts(rows=1, class_counts={"a": 1}))
    manifest.config = config
    assert manifest.config.input.path == "s3://bucket/in.csv"
    run = Run(str(tmp_path))
    manifest.save(run)
    assert "secret" not in run.read(MANIFEST).decode()
