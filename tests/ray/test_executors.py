"""One pipeline, two executors: the same tables on Ray and in this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cluster_tools import Stage
from fake_run import HERE, ON_RAY, fake_config, write_two_classes
from tagged_corpus import write_tagged

from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.expand import ExpansionRequest, expand
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

BLOCK = 4
Calls = dict[str, list[dict[str, Any]]]  # of each actor


@pytest.fixture(scope="module")
def made(shared_ray, tmp_path_factory) -> dict[str, tuple[Run, Calls]]:
    """A run of a variant with an expansion, in this process or with one half on Ray; the calls."""
    home, stage = tmp_path_factory.mktemp("executors"), Stage(shared_ray.directory)
    corpus = home / "corpus.parquet"
    config = fake_config(
        corpus,
        plan={"variant": "borderline"},
        adapt={"minutes": 1},
        resources={"plan_points_per_file": 6, "decode_rows_per_block": BLOCK},
    )
    found = {}
    for name, (first, then) in {
        "here": (HERE, HERE),
        "ray": ({"executor": ON_RAY}, HERE),
        "expanded on ray": (HERE, {"executor": ON_RAY}),
    }.items():
        stage.reset(seconds=0)
        write_two_classes(corpus, 40, 15)
        run = rounds.augment(config, str(home / name), **first)
        write_two_classes(corpus, 50, 15)
        run, done = expand(run.uri, ExpansionRequest(), **then)
        assert done
        found[name] = (
            run,
            {actor: stage.calls(actor) for actor in ("encoder", "adapter", "decoder")},
        )
    return found


@pytest.fixture(scope="module")
def runs(made) -> dict[str, Run]:
    return {name: run for name, (run, _) in made.items()}


def test_every_row_is_worked_on_once_in_blocks_of_the_size_that_is_set(made):
    tables = {"encoder": ("embeddings", "id"), "decoder": ("samples", "sample_id")}
    for run, calls in made.values():
        for actor, (directory, key) in tables.items():
            rows = run.table(directory).to_table()[key].to_pylist()
            assert sorted(id_ for call in calls[actor] for id_ in call["ids"]) == sorted(rows)
    on_ray = [call for call in made["ray"][1]["decoder"] if call["pid"] != os.getpid()]
    assert on_ray and max(len(call["ids"]) for call in on_ray) <= BLOCK


def test_the_bridge_is_adapted_once_and_its_copy_is_in_the_run(made):
    for name, (run, calls) in made.items():
        (call,) = calls["adapter"]
        assert (call["pid"] == os.getpid()) == (name != "ray")
        assert all(run.has(file) for file in Manifest.read(run).adapted.files)


@pytest.mark.parametrize("other", ["ray", "expanded on ray"])
@pytest.mark.parametrize(
    ("directory", "key"),
    [
        ("corpus", "id"),
        ("embeddings", "id"),
        ("weights", "id"),
        ("plan", "sample_id"),
        ("samples", "sample_id"),
    ],
)
def test_the_same_rows_are_made(runs, directory, key, other):
    tables = [runs[name].table(directory).to_table().sort_by(key) for name in ("here", other)]
    assert tables[0].combine_chunks().equals(tables[1].combine_chunks()) and len(tables[0])


def test_the_same_files_are_made_where_hashes_are_kept(runs):
    manifests = [Manifest.read(run) for run in runs.values()]
    for manifest in manifests[1:]:
        for one, other in zip(manifests[0].rounds, manifest.rounds, strict=True):
            assert one.plan_files == other.plan_files and one.planned == other.planned
        assert manifest.weights.files == manifests[0].weights.files
        assert manifest.result == manifests[0].result and manifest.result.synthetic == 35
        assert manifest.accepted() == manifests[0].accepted()


def test_all_are_sound_and_keep_no_checkpoints(runs):
    for run in runs.values():
        assert all(finding.ok for finding in verify(run)), verify(run)
        assert not list(Path(run.at("checkpoints")).iterdir())


def test_rows_with_several_labels_are_the_same_on_ray(shared_ray, tmp_path):
    Stage(shared_ray.directory).reset(seconds=0)
    corpus = write_tagged(tmp_path / "tagged.parquet")
    config = fake_config(
        corpus,
        plan={"sampling_strategy": {"grain": 20, "wheat": 20}},
        resources={"plan_points_per_file": 6, "decode_rows_per_block": BLOCK},
    )
    on_ray = rounds.augment(config, str(tmp_path / "ray"), executor=ON_RAY)
    here = rounds.augment(config, str(tmp_path / "here"), **HERE)
    one, other = (
        run.table("augmented.parquet")
        .to_table()
        .sort_by([("synthetic", "ascending"), ("n", "ascending"), ("sample_id", "ascending")])
        for run in (on_ray, here)
    )
    assert one.to_pylist() == other.to_pylist() and len(one) > 60
    assert all(finding.ok for finding in verify(on_ray))
