"""The stage that adapts the bridge to the run's own texts: once, and for all that is decoded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import fake_stages
import numpy as np
import pytest
from fake_run import HERE, fake_config, fakes_told, write_two_classes

from smotext_ray.cli.main import main
from smotext_ray.config.load import load_config
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.adapt import embedded_texts
from smotext_ray.pipeline.expand import ExpansionRequest, expand
from smotext_ray.pipeline.local import Local
from smotext_ray.pipeline.repair import repair
from smotext_ray.run.card import card_text
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.status import stages
from smotext_ray.run.verify import verify


@pytest.fixture(autouse=True)
def stage(tmp_path):
    with fakes_told(tmp_path / "stage"):
        yield


@pytest.fixture
def corpus(tmp_path):
    return write_two_classes(tmp_path / "corpus.parquet", 14, 5)


@pytest.fixture
def config(corpus) -> RunConfig:
    return fake_config(corpus, adapt={"minutes": 3})


def decoding_with(seen: list[str], **changes: Any) -> dict[str, Any]:
    """An executor whose decoders tell which bridge they are to load."""

    class Decode(fake_stages.Decode):
        def __init__(self, config: Any, **rest: Any) -> None:
            seen.append(config.bridge.path)
            super().__init__(config, **rest)

    return {"executor": Local(replace(fake_stages.FAKES, decode=Decode, **changes))}


def adaptations() -> int:
    log = fake_stages.directory() / "adapter.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_all_points_are_decoded_by_the_adapted_bridge(config, tmp_path):
    seen: list[str] = []
    run = rounds.augment(config, str(tmp_path / "run"), **decoding_with(seen))
    manifest = Manifest.read(run)
    assert manifest.adapted.cosine_after == 0.625
    (directory,) = {file.rpartition("/")[0] for file in manifest.adapted.files}
    assert seen == [run.at(directory)]
    assert run.read(directory, "bridge.safetensors") == b"adapted"
    assert manifest.config.bridge.path == "default"  # the settings are those that were given
    assert [s.state for s in stages(run, manifest) if s.stage == "adapt"] == ["done"]
    assert all(finding.ok for finding in verify(run))
    said = "learned from 7 texts in 4 steps; cosine of the greedy texts of 2 others 0.500 before"
    assert said in card_text(manifest) and said in manifest.adapted.in_words()


def test_without_minutes_nothing_is_adapted(corpus, tmp_path):
    seen: list[str] = []
    run = rounds.augment(fake_config(corpus), str(tmp_path / "run"), **decoding_with(seen))
    assert (adaptations(), seen, Manifest.read(run).adapted) == (0, ["default"], None)
    assert not run.has("bridge")
    assert "adapt" not in [stage.stage for stage in stages(run, Manifest.read(run))]


def test_a_bridge_that_became_worse_is_not_used(config, tmp_path):
    def worse(**given: Any) -> dict[str, Any]:
        return fake_stages.adapt(**given) | {"cosine_after": 0.25, "files": {}}

    seen: list[str] = []
    run = rounds.augment(config, str(tmp_path / "run"), **decoding_with(seen, adapt=worse))
    assert seen == ["default"]
    assert "0.500 before and 0.250 after: the bridge is used as it was" in (
        Manifest.read(run).adapted.in_words()
    )


def test_a_run_killed_while_it_adapts_begins_that_again(config, tmp_path):
    def killed(**given: Any) -> dict[str, Any]:
        fake_stages.adapt(**given)
        raise KeyboardInterrupt

    home = str(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        rounds.augment(config, home, **decoding_with([], adapt=killed))
    assert Manifest.read(Run(home)).adapted is None
    run = rounds.augment(config, home, **HERE)
    assert adaptations() == 2 and len(list((tmp_path / "run/bridge").iterdir())) == 1
    assert all(finding.ok for finding in verify(run))


def test_a_run_killed_while_it_decodes_does_not_adapt_again(config, tmp_path):
    class Killed(fake_stages.Decode):
        def decode(self, ids: list[int]) -> Any:
            raise KeyboardInterrupt

    home, seen = str(tmp_path / "run"), []
    with pytest.raises(KeyboardInterrupt):
        rounds.augment(config, home, Local(replace(fake_stages.FAKES, decode=Killed)))
    run = rounds.augment(config, home, **decoding_with(seen))
    assert adaptations() == 1
    assert [path.startswith(run.at("bridge")) for path in seen] == [True]


def test_an_expansion_uses_the_bridge_that_the_run_has(config, corpus, tmp_path):
    run = rounds.augment(config, str(tmp_path / "run"), **HERE)
    write_two_classes(corpus, 20, 6)
    seen: list[str] = []
    _, done = expand(run.uri, ExpansionRequest(str(corpus)), **decoding_with(seen))
    assert done and adaptations() == 1
    assert [path.startswith(run.at("bridge")) for path in seen] == [True]


def test_other_minutes_are_another_run(config, tmp_path):
    home = str(tmp_path / "run")
    rounds.embed(config, home, **HERE)
    with pytest.raises(UserError, match=r"adapt\.minutes is 3\.0 there, but 0\.0 here"):
        rounds.augment(load_config(overrides=["adapt.minutes=0"], base=config), home, **HERE)


def test_a_damaged_bridge_is_found_and_decodes_nothing(config, corpus, tmp_path):
    run = rounds.augment(config, str(tmp_path / "run"), **HERE)
    (file,) = (tmp_path / "run/bridge").glob("*/bridge.safetensors")
    file.write_bytes(b"another")
    failed = [finding for finding in verify(run) if not finding.ok]
    assert [finding.check for finding in failed] == ["bridge: hashes"]
    with pytest.raises(UserError, match="cannot be repaired"):
        repair(run, **HERE)
    write_two_classes(corpus, 20, 6)
    with pytest.raises(UserError, match=r"The adapted bridge of .* is not as it was"):
        expand(run.uri, ExpansionRequest(str(corpus)), **HERE)


def test_a_run_with_epsilon_is_refused_before_anything_is_read(tmp_path, capsys):
    given = ["--input", str(tmp_path / "none.csv"), "--output", str(tmp_path / "run")]
    assert main(["augment", *given, "--adapt", "3", "privacy.epsilon=1"]) == 2
    said = capsys.readouterr().err
    assert "adapt.minutes trains on the texts of the corpus" in said and said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_texts_do_not_depend_on_the_files_they_are_in(corpus, tmp_path):
    drawn = []
    for rows in (512, 1024):
        config = fake_config(corpus, resources={"embed_rows_per_block": rows})
        write_two_classes(corpus, 600, 500)
        run, _ = rounds.embed(config, str(tmp_path / f"run-{rows}"), **HERE)
        drawn.append(embedded_texts(run, seed=1, most=50))
    (texts, vectors), (same, others) = drawn
    assert texts == same and len(texts) == 50
    assert np.array_equal(vectors, others)
    assert np.array_equal(vectors, fake_stages.Encoder().encode(texts))
    assert embedded_texts(run, seed=2, most=50)[0] != texts
