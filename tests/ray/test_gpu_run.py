"""Jobs on a Ray that counts GPUs: they run, and each actor and task sees its own GPUs alone.

Ray gives out numbers, whether or not the machine has such GPUs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from fake_run import ON_RAY, fake_config, fake_pipeline
from local_ray import local_ray

from smotext_ray.api.ray_data import decode, embed
from smotext_ray.cluster.gpus import VISIBLE, loading_alone, reserved_gpus
from smotext_ray.cluster.ray_data import in_task
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.plan import LIGHT_FILES
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

GPUS = {"0", "1"}


@pytest.fixture(scope="module")
def stage(own_ray, tmp_path_factory):
    directory = tmp_path_factory.mktemp("gpus") / "stage"
    with fake_pipeline(directory), local_ray(cpus=16, gpus=2):
        yield directory


@pytest.fixture
def run(stage, tmp_path):
    for log in stage.glob("*.jsonl"):
        log.unlink()

    def run(**resources) -> Run:
        corpus = tmp_path / "corpus.parquet"
        labels = ["common"] * 60 + ["rare"] * 12
        texts = [f"{label} text {i}" for i, label in enumerate(labels)]
        pq.write_table(pa.table({"text": texts, "label": labels}), corpus)
        sizes = {"encoder_actors": 0, "decoder_actors": 0}
        config = fake_config(corpus, resources=sizes | resources)
        made = rounds.augment(config, str(tmp_path / "run"), ON_RAY)
        assert all(finding.ok for finding in verify(made)), verify(made)
        return made

    return run


def seen(stage: Path, actor: str) -> set[str | None]:
    """What the calls of an actor saw of the machine's GPUs."""
    lines = (stage / f"{actor}.jsonl").read_text().splitlines()
    return {json.loads(line)["gpus"] for line in lines}


def test_a_run_reserves_gpus_for_every_kind_of_actor(stage, run):
    # More files than one task plans.
    made = run(decode_rows_per_block=8, plan_points_per_file=10)
    assert len(made.table("plan", "round-1").files) > LIGHT_FILES
    assert Manifest.read(made).rounds[0].decode.actors == 2
    assert Manifest.read(made).config.encoder.dtype == "bfloat16"
    for actor in ("encoder", "planner", "decoder", "gate"):
        assert seen(stage, actor) <= GPUS, actor


def test_what_reserves_no_gpu_sees_none(stage, run):
    made = run(gpus_per_encoder=0, gpus_per_gate=0)
    assert seen(stage, "encoder") == {""} == seen(stage, "gate")
    assert seen(stage, "decoder") <= GPUS
    assert Manifest.read(made).config.encoder.dtype != "auto"


def visible() -> str | None:
    return os.environ.get(VISIBLE)


def test_a_task_sees_no_gpu_and_leaves_the_worker_as_it_was(stage):
    assert in_task(visible) == ""
    of_others = ray.remote(num_cpus=1)(visible)
    assert set(ray.get([of_others.remote() for _ in range(20)])) == {os.environ.get(VISIBLE)}


def test_the_lazy_stages_take_gpus_as_documented(stage):
    texts = ray.data.from_items([{"text": f"text number {i}"} for i in range(3)])
    # The real encoder, on the CPU: there is no such GPU.
    embedded = embed(texts, num_gpus=0.25).take_all()
    assert [len(row["embedding"]) for row in embedded] == [384] * 3
    points = [{"point": row["embedding"], "seed": i} for i, row in enumerate(embedded)]
    assert "Decode" in str(decode(ray.data.from_items(points), num_gpus=1))  # made, and not run


class Loader:
    """Says when it began and ended to load."""

    def load(self, seconds: float) -> tuple[list[str], float, float]:
        import time

        with loading_alone():
            began = time.monotonic()
            time.sleep(seconds)
            return reserved_gpus(), began, time.monotonic()


def test_actors_of_one_gpu_load_one_after_the_other(stage):
    loaders = [ray.remote(num_cpus=0, num_gpus=0.5)(Loader).remote() for _ in range(4)]
    loaded = ray.get([loader.load.remote(0.5) for loader in loaders])
    for gpu in GPUS:
        spans = sorted((began, ended) for gpus, began, ended in loaded if gpus == [gpu])
        assert len(spans) == 2
        assert spans[0][1] <= spans[1][0]
    for loader in loaders:
        ray.kill(loader)
