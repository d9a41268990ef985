"""A run directory that an older version wrote, with the words of its day, is read and resumed."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from fake_stages import MODELS
from handmade_run import config_for
from rich.console import Console

from smotext_ray.cli.show import show_outcome, show_samples
from smotext_ray.errors import UserError
from smotext_ray.evaluation.inputs import _samples
from smotext_ray.pipeline.expand import _is_idle
from smotext_ray.pipeline.plan_files import PlanWriter, group_item
from smotext_ray.plan.shards import shards
from smotext_ray.run.directory import MANIFEST, Run
from smotext_ray.run.facts import BegunControl, Decoded
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import check_same
from smotext_ray.run.renamed import REASONS, SETTINGS, renamed_manifest
from smotext_ray.run.samples import summarize_round
from smotext_ray.run.status import status_json
from smotext_ray.run.verify import verify

STORED = Path(__file__).parent / "older_run.tar.gz"
TODAY = {"alpha": 0.5, "neighbors_per_point": 2}


@pytest.fixture
def run(tmp_path) -> Run:
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path, filter="data")
    return Run(str(tmp_path / "run"))


def stored(run: Run) -> dict:
    return json.loads(run.read(MANIFEST))


def test_the_stored_manifest_has_the_older_words(run):
    manifest = stored(run)
    assert manifest["short"] == [["grain", 2]] and "shortfall" not in manifest
    for section, words in SETTINGS.items():
        assert words.keys() <= manifest["config"][section].keys()
        assert not set(words.values()) & manifest["config"][section].keys()


def test_its_settings_are_read_by_todays_names(run):
    config = Manifest.read(run).config
    assert (config.plan.alpha, config.plan.neighbors_per_point) == (0.5, 2)
    assert Manifest.read(run).effective_config.neighbors.on_singleton_class == "skip"
    for section, words in SETTINGS.items():
        for old, new in words.items():
            value = stored(run)["config"][section][old]
            assert getattr(getattr(config, section), new) == value


def test_it_is_opened_with_the_same_settings_and_refused_with_others(run):
    manifest = Manifest.read(run)
    decoder = {"num_candidates": 4}  # the default of its day
    same = config_for(Path("corpus.parquet"), plan=TODAY, decoder=decoder)
    check_same(run, manifest, same, MODELS)
    other = config_for(Path("corpus.parquet"), plan=TODAY | {"alpha": 1}, decoder=decoder)
    with pytest.raises(Exception, match=r"plan\.alpha is 0\.5 there, but 1\.0 here"):
        check_same(run, manifest, other, MODELS)


def test_its_plan_is_made_again_byte_for_byte(run):
    manifest = Manifest.read(run)
    config = manifest.config
    (first, _) = manifest.rounds
    groups = shards(first.planned, 1, 0, points_per_shard=5)
    run.clear("plan")
    write = PlanWriter(run, config)
    items = [group_item(1, i, group) for i, group in enumerate(groups)]
    # Files are named otherwise.
    assert [write(**item)[0] for item in items] == [*first.plan_files.values()]


def test_its_reasons_are_told_in_todays_words(run):
    told = summarize_round(run, [1])
    assert told.reasons == {"truncated": 2, "wrong_class": 1, "error": 1}
    manifest = Manifest.read(run)
    assert manifest.rounds[0].decode == Decoded(seconds=4.0, tokens=400, actors=1, **dict(told))
    assert manifest.controls["lam_0"].reasons == {"truncated": 4, "wrong_class": 3}
    assert manifest.controls["shuffled"] == BegunControl(points=16)
    reasons = {sample["reason"] for sample in _samples(run, [1, 2], {}, set())}
    assert reasons == {"", "no engine", "repetitive", *REASONS.values()}


def test_what_is_printed_of_it_is_in_todays_words(run):
    console = Console(width=120, record=True)
    show_outcome(run, Manifest.read(run), console)
    assert show_samples(run, Manifest.read(run), console, status="rejected") == 7
    text = console.export_text()
    assert "rejected: low_similarity" in text and "wrong_class" in text and "truncated" in text
    assert not any(old in text for old in REASONS)
    assert json.loads(status_json(run))["shortfall"] == [["grain", 2]]


def test_its_files_are_sound(run):
    assert [finding for finding in verify(run) if not finding.ok] == []


def test_once_saved_its_manifest_is_in_todays_words(run):
    manifest = Manifest.read(run)
    manifest.save(run)
    assert Manifest.read(run) == manifest
    assert stored(run) == renamed_manifest(stored(run))
    assert not any(f'"{old}"' in run.read(MANIFEST).decode() for old in [*REASONS, "short"])


def test_an_expansion_with_nothing_new_is_idle(run):
    manifest = Manifest.read(run)
    entry = manifest.last_expansion.model_copy(update={"max_rounds": 1})
    assert _is_idle(entry, manifest)
    assert not _is_idle(entry.model_copy(update={"max_rounds": 3}), manifest)


def test_a_run_on_the_sphere_can_be_read_once_it_is_finished(run):
    manifest = stored(run)
    manifest["config"]["plan"]["interpolation"] = "slerp"
    run.write(json.dumps(manifest).encode(), MANIFEST)
    assert Manifest.read(run).config.plan.alpha == TODAY["alpha"]
    del manifest["stages"]["result"]
    run.write(json.dumps(manifest).encode(), MANIFEST)
    with pytest.raises(UserError, match=r"plan\.interpolation=slerp.* of commit a21507a"):
        Manifest.read(run)
