"""Runs of the pipeline in this process, with the stages of `fake_stages`."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fake_stages
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline import expand as expand_module
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.executor import Executor
from smotext_ray.pipeline.local import Local
from smotext_ray.pipeline.on_ray import OnRay

# For `augment` and its kin: the same stages without Ray.
HERE: dict[str, Any] = {"executor": Local(fake_stages.FAKES)}
ON_RAY = OnRay(fake_stages.FAKES)


def stage_environment(directory: Path) -> dict[str, str]:
    """Make the directory in which the fakes meet; what Ray must be started with to use them."""
    (directory / "faults").mkdir(parents=True)
    (directory / "seconds").write_text("0")
    tests = Path(__file__).parent
    # Ray's workers import the fakes.
    # And what test files define, by the names that pytest gives these.
    folders = [tests, tests.parents[1], *(tests.parent / name for name in ("api", "ray"))]
    return {
        fake_stages.HERE: str(directory),
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
    }


@contextmanager
def fakes_told(directory: Path) -> Iterator[None]:
    """Within the block the fakes know where they and the test meet; Ray's workers do not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(fake_stages.HERE, stage_environment(directory)[fake_stages.HERE])
        yield


@contextmanager
def fake_pipeline(directory: Path) -> Iterator[None]:
    """Within the block a run may be made with `FAKES`, on a Ray of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stage_environment(directory).items():
            patch.setenv(name, value)
        try:
            yield
        finally:
            ray.shutdown()  # which the pipeline started in this process


@contextmanager
def fakes_by_default(executor: Executor = ON_RAY) -> Iterator[None]:
    """Use the fakes for callers that can name no executor: public functions and examples."""
    with pytest.MonkeyPatch.context() as patch:
        augment = functools.partial(rounds.augment, executor=executor)
        patch.setattr(rounds, "augment", augment)
        expand = functools.partial(expand_module.expand, executor=executor)
        patch.setattr(expand_module, "expand", expand)
        yield


def write_two_classes(path: Path, corn: int, ship: int) -> Path:
    """Write a corpus with a number of rows of each of two classes."""
    rows = [(f"corn{i % 8} number {i}", "corn") for i in range(corn)]
    rows += [(f"ship{i % 8} number {i}", "ship") for i in range(ship)]
    texts, labels = zip(*rows, strict=True)
    pq.write_table(pa.table({"text": texts, "label": labels}), path)
    return path


def fake_config(corpus: Path, **sections: dict) -> RunConfig:
    """One actor a kind, and a gate that lets all pass."""
    given = {
        "input": {"path": str(corpus)},
        "gate": {"min_cosine": -1, "same_class": False},
        "resources": {"encoder_actors": 1, "decoder_actors": 1},
    }
    for section, values in sections.items():
        given[section] = given.get(section, {}) | values
    return RunConfig.model_validate(given)
