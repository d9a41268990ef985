"""A run that adapts its bridge, with the tiny models: on a disk and where there are no files."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import fake_stages
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fake_run import fake_config, fakes_told
from tiny_training import made_texts

from smotext_ray.models.load import load_bridge
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.actors import REAL
from smotext_ray.pipeline.local import Local
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify
from smotext_ray.training import adapt


@pytest.fixture
def settings(config, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("SMOTEXT_CACHE", str(tmp_path / "cache"))
    texts = [f"{text} {number}" for number, text in enumerate(made_texts(120))]
    table = pa.table({"text": texts, "label": ["corn"] * 80 + ["ship"] * 40})
    pq.write_table(table, tmp_path / "corpus.parquet")
    models = {
        "encoder": {"model": config.encoder},
        "decoder": {"model": config.llm, "max_tokens": 6},
        "bridge": {"path": str(trained[1])},
        "adapt": {"minutes": 0.2},
    }
    with fakes_told(tmp_path / "stage"):
        yield fake_config(tmp_path / "corpus.parquet", **models)


@pytest.mark.parametrize("is_on_disk", [True, False])
def test_the_decoders_load_the_bridge_that_learned(
    settings, trained, tmp_path, is_on_disk, monkeypatch
):
    loaded, cosines = [], count(0.1, 0.1)
    monkeypatch.setattr(adapt, "greedy_cosine", lambda *_, **__: next(cosines))

    class Decode(fake_stages.Decode):
        def __init__(self, config, **rest):
            loaded.append(load_bridge(config.bridge.path)[0])
            super().__init__(config, **rest)

    home = str(tmp_path / "run") if is_on_disk else f"memory://{tmp_path.name}/run"
    try:
        run = rounds.augment(settings, home, Local(replace(REAL, decode=Decode)))
        manifest = Manifest.read(run)
        assert manifest.adapted.texts == 120 and manifest.adapted.steps > 0
        assert len(manifest.adapted.files) == 2  # weights and config: the LLM has no LoRA
        assert all(finding.ok for finding in verify(run)), verify(run)
        (bridge,) = loaded
        before, after = (each.projector[0].weight.detach() for each in (trained[0], bridge))
        assert not torch.equal(before, after)
        assert json.loads(run.read("manifest.json"))["config"]["adapt"] == {"minutes": 0.2}
    finally:
        Run(home).clear()
