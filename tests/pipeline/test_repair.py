"""A run that was damaged is made whole again: the same plan, the same rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fake_run import HERE, fake_config, fakes_told, write_two_classes
from handmade_run import changed

from smotext_ray.errors import UserError
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.expand import ExpansionRequest, expand
from smotext_ray.pipeline.repair import repair
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import how_to_fix, verify


@pytest.fixture(scope="module", autouse=True)
def fakes(tmp_path_factory):
    with fakes_told(tmp_path_factory.mktemp("fakes") / "stage"):
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("made")
    config = fake_config(
        write_two_classes(home / "corpus.parquet", 14, 5),
        plan={"variant": "borderline"},
        resources={"plan_points_per_file": 4, "embed_rows_per_block": 8},
    )
    rounds.augment(config, str(home / "run"), **HERE)
    return home


@pytest.fixture
def run(made, tmp_path) -> Run:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Run(str(tmp_path / "run"))


def rows(run: Run) -> dict[str, list]:
    tables = {"embeddings": "id", "plan/round-1": "sample_id", "samples/round-1": "sample_id"}
    found = {
        name: run.table(*name.split("/")).to_table().sort_by(key).to_pylist()
        for name, key in tables.items()
    }
    return found | {"result": pq.read_table(run.at("augmented.parquet")).to_pylist()}


def first(run: Run, *parts: str) -> Path:
    return Path(min(run.table(*parts).files))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def drop_a_row(file: Path) -> None:
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)


DAMAGE = {
    "samples": ("samples", "round-1"),
    "plan": ("plan", "round-1"),
    "embeddings": ("embeddings",),
    "weights": ("weights", "expansion-0"),
}


@pytest.mark.parametrize("damage", [Path.unlink, cut, drop_a_row])
@pytest.mark.parametrize("table", DAMAGE)
def test_a_damaged_table_is_made_again(run, table, damage):
    before, manifest = rows(run), Manifest.read(run)
    damage(first(run, *DAMAGE[table]))
    findings = verify(run)
    assert not all(finding.ok for finding in findings)
    assert how_to_fix(run, findings).endswith("--repair")
    assert all(finding.ok for finding in repair(run, **HERE))
    assert rows(run) == before
    after = Manifest.read(run)
    assert after.result == manifest.result and after.targets == manifest.targets
    assert [entry.plan_files for entry in after.rounds] == [
        entry.plan_files for entry in manifest.rounds
    ]


@pytest.mark.parametrize("damage", [Path.unlink, cut])
def test_a_damaged_result_is_written_again(run, damage):
    before = rows(run)
    damage(Path(run.at("augmented.parquet")))
    assert all(finding.ok for finding in repair(run, **HERE)) and rows(run) == before


def test_a_whole_table_that_is_gone(run):
    before = rows(run)
    for name in ("samples", "plan", "embeddings"):
        shutil.rmtree(run.at(name))
    assert all(finding.ok for finding in repair(run, **HERE)) and rows(run) == before


def test_a_sound_run_stays_as_it_is(run):
    before = rows(run)
    file = Path(run.at("augmented.parquet"))
    written = file.stat().st_mtime_ns
    assert all(finding.ok for finding in repair(run, **HERE))
    assert rows(run) == before and file.stat().st_mtime_ns == written


def test_a_plan_of_before_an_expansion_is_not_replaced_by_another(run, tmp_path):
    grown = write_two_classes(tmp_path / "grown.parquet", 16, 9)
    expand(run.uri, ExpansionRequest(input=str(grown)), **HERE)
    assert all(finding.ok for finding in verify(run))
    first(run, "plan", "round-1").unlink()
    with pytest.raises(UserError, match=r"round-1 .* cannot be made again as it was"):
        repair(run, **HERE)


def test_other_settings_are_not_used_to_repair(run):
    manifest = Manifest.read(run)
    manifest.config = changed(manifest.config, gate={"min_cosine": 0.9})
    manifest.models["llm"] = {"name": "llm", "sha256": "9"}
    manifest.save(run)
    first(run, "samples", "round-1").unlink()
    with pytest.raises(UserError, match="the llm"):
        repair(run, **HERE)
