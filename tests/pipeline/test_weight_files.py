"""``weights/``: the same as of all classes at once, made once, and again with new embeddings."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import HERE, fake_config, fakes_told
from fake_stages import FAKES
from grown_corpus import config_of, is_sound, labels_of, rows, write

from smotext_ray.errors import UserError
from smotext_ray.pipeline import plan as plan_module
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.expand import ExpansionRequest, expand
from smotext_ray.pipeline.local import Local
from smotext_ray.pipeline.plan_files import weights_directory
from smotext_ray.plan import variants
from smotext_ray.plan.unsharded import unsharded_plan, unsharded_weights
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify


@pytest.fixture(scope="module", autouse=True)
def fakes(tmp_path_factory):
    with fakes_told(tmp_path_factory.mktemp("fakes") / "stage"):
        yield


def planned(tmp_path, points_per_file: int = 6, executor=HERE["executor"], **plan) -> Run:
    """A run of a variant until its first plan, of classes whose texts lie among each other."""
    corpus = write(tmp_path / "corpus.parquet", rows("corn", 0, 40), rows("ship", 0, 15))
    settings = {"plan": plan, "resources": {"plan_points_per_file": points_per_file}}
    config = fake_config(corpus, **settings)
    here = HERE | {"executor": executor}
    run, manifest = rounds.embed(config, str(tmp_path / "run"), **here)
    assert plan_module.plan(config, run, manifest, **here)
    return run


def is_that_of_one_process(run: Run, points: dict[str, int]) -> bool:
    """Whether weights and first plan are what `smotext_ray.plan.unsharded` makes."""
    embedded, config = run.table("embeddings"), config_of(run)
    weights = run.table(weights_directory(Manifest.read(run))).to_table().sort_by("id")
    made = run.table("plan", "round-1").to_table().sort_by("sample_id")
    here = unsharded_weights(embedded, points, config)
    plan = unsharded_plan(embedded, points, 1, 0, config, weights=here)
    return all(
        one.combine_chunks().equals(other.combine_chunks())
        for one, other in ((weights, here), (made, plan))
    )


def test_a_variant_of_the_whole_is_one_file_and_a_change_of_it_is_found(tmp_path):
    run = planned(tmp_path, variant="kmeans", n_clusters=1, neighbors_per_point=2)
    (file,) = weight_files(run)
    assert list(Manifest.read(run).weights.files) == [file]
    assert is_that_of_one_process(run, {"ship": 25}) and is_sound(run)
    Path(run.at(file)).write_bytes(b"other")
    assert [finding.check for finding in verify(run) if not finding.ok] == ["weights: hashes"]


def test_a_small_plan_needs_no_actors_of_its_own(tmp_path):
    asked: dict[str, float] = {}

    class Watched(Local):
        def plan(self, config, run, job):
            asked[job.stage] = job.memory_gib
            return super().plan(config, run, job)

    run = planned(tmp_path, points_per_file=20, executor=Watched(FAKES), variant="borderline")
    assert len(run.table("plan", "round-1").files) == 2 <= plan_module.LIGHT_FILES
    assert asked["plan"] == 0 and asked["weigh"] > 1
    assert is_that_of_one_process(run, {"ship": 25}) and is_sound(run)


def test_weights_are_made_once_and_anew_when_the_corpus_has_grown(tmp_path):
    run = planned(tmp_path, variant="borderline")
    first = {name: Manifest.read(run).weights.files[name] for name in weight_files(run)}
    assert is_that_of_one_process(run, {"ship": 25})
    assert len(Manifest.read(run).rounds[0].plan_files) == 5
    # As after a kill between a file and the manifest: it is as if nothing was planned.
    manifest = Manifest.read(run)
    plan = manifest.rounds[0].plan_files
    gone = sorted(first)[1]
    run.fs.delete_file(run.at(gone))
    stays = {name: Path(run.at(name)).stat().st_mtime_ns for name in weight_files(run)}
    run.clear("plan")
    for name in ("targets", "weights"):
        setattr(manifest, name, None)
    manifest.rounds = []
    manifest.save(run)
    assert plan_module.plan(config_of(run), run, Manifest.read(run), **HERE)
    assert Manifest.read(run).weights.files == first and len(first) == 3
    assert {n: Path(run.at(n)).stat().st_mtime_ns for n in stays} == stays and len(stays) == 2
    assert Manifest.read(run).rounds[0].plan_files == plan
    run = rounds.augment(config_of(run), run.uri, **HERE)

    new = write(tmp_path / "new.parquet", rows("corn", 40, 60))
    run, done = expand(run.uri, ExpansionRequest(input=str(new)), **HERE)
    assert done and is_sound(run) and labels_of(run)[True] == {"ship": 45}
    again = Manifest.read(run).weights.files
    assert again.keys().isdisjoint(first) and set(again.values()) != set(first.values())
    config, points = config_of(run), {"ship": 45}
    here = unsharded_weights(run.table("embeddings"), points, config)
    weights = run.table(weights_directory(Manifest.read(run))).to_table().sort_by("id")
    assert weights.combine_chunks().equals(here.combine_chunks())


def weight_files(run: Run) -> list[str]:
    files = Path(run.at("weights")).rglob("*.parquet")
    return [str(path.relative_to(run.uri)) for path in files]


def test_a_class_without_a_source_is_left_as_it_is(tmp_path):
    corpus = write(tmp_path / "corpus.parquet", rows("corn", 0, 12), rows("ship", 0, 5))
    # At least half of one neighbor, and not all of it: no text can be in danger.
    config = fake_config(corpus, plan={"variant": "borderline"}, neighbors={"m_neighbors": 1})
    run = rounds.augment(config, str(tmp_path / "run"), **HERE)
    assert is_sound(run) and labels_of(run)[True] == {}
    *_, warning = Manifest.read(run).warnings
    assert "'ship' is skipped: none of its texts is in danger" in warning
    assert Manifest.read(run).shortfall == {}


def test_too_many_rows_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "MOST_SVM_ROWS", 10)
    corpus = write(tmp_path / "corpus.parquet", rows("corn", 0, 12), rows("ship", 0, 5))
    with pytest.raises(UserError, match="at most 10 rows, but the corpus has 17"):
        rounds.augment(fake_config(corpus, plan={"variant": "svm"}), str(tmp_path / "run"), **HERE)
    assert not (tmp_path / "run").exists()
