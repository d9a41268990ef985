"""kill -9 of drivers, actors and a node, in each of the three jobs: no row is lost or doubled."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from cluster_tools import (
    Driver,
    Stage,
    check_whole,
    done_again,
    end_tree,
    kill,
    node_of,
    plan_bytes,
    ray_nodes,
)
from fake_run import HERE, fakes_told
from planned_run import planned

from smotext_ray.config.schema import ResourcesConfig
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.actors import ENCODE_CHUNK
from smotext_ray.pipeline.plan import plan
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

KILLS = int(os.environ.get("SMOTEXT_KILLS", "3"))  # of the driver
ROWS = {"common": 2812, "rare": 260}  # of the embed job: six blocks
POINTS, BLOCK = 240, 8
ENCODERS, DECODERS = 2, 2
IN_FLIGHT = ResourcesConfig().decode_blocks_in_flight  # of a decoder
SECONDS = 0.4  # of a call


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    labels = [label for label, rows in ROWS.items() for _ in range(rows)]
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(len(labels))], "label": labels})
    file = tmp_path_factory.mktemp("corpus") / "corpus.parquet"
    frame.sample(frac=1, random_state=0).to_parquet(file)
    return file


def augment(corpus: Path, run: Path) -> list[str]:
    return [
        *("augment", "--input", str(corpus), "--output", str(run), "--max-rounds", "1"),
        *("--sampling-strategy", f'{{"rare": {ROWS["rare"] + POINTS}}}'),
        *("gate.min_cosine=-1", "gate.same_class=false", "resources.plan_points_per_file=20"),
        f"gate.reference_rows={ROWS['common']}",  # or fewer rows are embedded
        *(f"resources.encoder_actors={ENCODERS}", f"resources.decoder_actors={DECODERS}"),
        f"resources.decode_rows_per_block={BLOCK}",
    ]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[tuple[Stage, str]]:
    """One node; the address is that of its Ray."""
    stage = Stage(tmp_path_factory.mktemp("kills") / "stage")
    with ray_nodes(stage, cpus=[8]) as (address, _):
        yield stage, address


@pytest.fixture(scope="module")
def start(cluster, corpus) -> Callable[..., Driver]:
    """The command ``smotext augment`` on that cluster."""
    stage, address = cluster
    return lambda run, *more: Driver(stage, *augment(corpus, run), *more, RAY_ADDRESS=address)


@pytest.fixture
def stage(cluster) -> Stage:
    return cluster[0].reset(SECONDS)


def undisturbed_plan(run: Run, home: Path) -> bytes:
    """The plan that one process makes with a run's settings, and nobody kills."""
    config = Manifest.read(run).config
    with fakes_told(home / "undisturbed"):
        made, manifest = rounds.embed(config, str(home / "here"), **HERE)
        assert plan(config, made, manifest, **HERE)
    return plan_bytes(made)


def test_the_driver_is_killed_in_every_job(stage, start, tmp_path):
    run = Run(str(tmp_path / "run"))
    in_decode = KILLS - 2 * (KILLS // 3)
    actors = ["encoder"] * (KILLS // 3) + ["planner"] * (KILLS // 3) + ["decoder"] * in_decode
    chance = random.Random(0)
    for actor in actors:
        driver = start(run.path)
        calls = len(stage.calls(actor)) + chance.choice([1, 2, 3])
        driver.until(lambda a=actor, n=calls: len(stage.calls(a)) >= n)
        time.sleep(chance.uniform(0, SECONDS))  # no matter where in its work
        driver.kill()
    code, said = start(run.path).ends()
    assert code == 0, said
    check_whole(run)
    assert plan_bytes(run) == undisturbed_plan(run, tmp_path)
    encoded, decoded = (done_again(stage, actor) for actor in ("encoder", "decoder"))
    print(f"{KILLS} kills of the driver: {encoded} rows encoded and {decoded} decoded again")
    assert encoded <= actors.count("encoder") * 2 * ENCODERS * ENCODE_CHUNK
    assert decoded <= actors.count("decoder") * (IN_FLIGHT + 1) * DECODERS * BLOCK


@pytest.mark.long
def test_an_actor_of_every_job_is_killed(stage, start, tmp_path):
    run = Run(str(tmp_path / "run"))
    driver = start(run.path)
    for actor in ("encoder", "planner", "decoder"):
        kill(driver.until(lambda a=actor: stage.calls(a))[-1]["pid"])
    code, said = driver.ends()
    assert code == 0, said
    check_whole(run)
    assert plan_bytes(run) == undisturbed_plan(run, tmp_path)
    again = [done_again(stage, actor) for actor in ("encoder", "planner", "decoder")]
    print(f"an actor of each job killed: {again} rows, files and points done again")
    assert again[0] <= ENCODE_CHUNK and again[1] <= 1 and again[2] <= IN_FLIGHT * BLOCK


@pytest.mark.long
def test_a_node_of_three_is_killed_while_it_decodes(tmp_path):
    run = planned(tmp_path, POINTS, BLOCK, decoder_actors=3)
    before = plan_bytes(run)
    stage = Stage(tmp_path / "stage").reset(seconds=0)
    stage.slow("decoder", 2)  # or all is decoded before anybody has looked
    with ray_nodes(stage, cpus=[2, 3, 3]) as (address, nodes):  # too few on the head for three
        driver = Driver(stage, "decode", run.uri, RAY_ADDRESS=address)

        def at_work() -> subprocess.Popen | None:
            """A node that is not the head and has a block to decode."""
            assert all(node.poll() is None for node in nodes), "a node ended by itself"
            found = [node_of(call["pid"], nodes) for call in stage.calls("decoder")[-3:]]
            return next((node for node in found if node not in (nodes[0], None)), None)

        end_tree(driver.until(at_work))
        stage.slow("decoder", 0)
        code, said = driver.ends()
    assert code == 0, said
    check_whole(run)
    assert plan_bytes(run) == before
    again = done_again(stage, "decoder")
    print(f"one of three nodes killed: {again} rows decoded again")
    # Blocks that were decoded there and not yet written are lost with the node's memory.
    assert again <= 3 * (IN_FLIGHT + 1) * BLOCK
