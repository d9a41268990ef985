"""A training that is stopped at any change to its files ends as one that was not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import TEXTS, last_state, metrics, quiet, tiny_config

from smotext_ray.training.config import TrainConfig
from smotext_ray.training.state import DECAY_FILE, STATE_FILE, branch_off
from smotext_ray.training.train import train

SOME = 4  # of the points; all of them are tried in `make test-cluster`
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link")
BRIDGE = ("bridge.safetensors", "adapter_model.safetensors", "config.json")


class Killed(BaseException):
    """No process sees its end."""


class Watch:
    """Counts changes below a directory, and stops the process before one of them."""

    directory = ""
    changes = 0
    stop_at: int | None = None

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self.directory or (event != "open" and event not in CHANGES):
            return
        is_write = event != "open" or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        if not is_write or not os.fspath(arguments[0]).startswith(self.directory):
            return
        if self.stop_at is not None and self.changes >= self.stop_at:
            raise Killed
        self.changes += 1


WATCH = Watch()


@pytest.fixture(scope="module", autouse=True)
def hook() -> None:
    sys.addaudithook(WATCH)  # for good, but it only looks within `watched`


@contextmanager
def watched(directory: Path, stop_at: int | None = None) -> Iterator[None]:
    WATCH.directory, WATCH.changes, WATCH.stop_at = str(directory), 0, stop_at
    try:
        yield
    finally:
        WATCH.directory = ""


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    tiny = tiny_config(tmp_path_factory.mktemp("models"))
    return replace(tiny, steps=3, decay_steps=2, eval_every=2, lora_rank=2)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory) -> tuple[Path, int]:
    """An uninterrupted training, and the changes that it made."""
    output = tmp_path_factory.mktemp("whole")
    with watched(output):
        train(TEXTS, config, output, log=quiet)
        return output, WATCH.changes


def differences(output: Path, other: Path) -> list[str]:
    found = ["metrics"] if metrics(output) != metrics(other) else []
    found += [n for n in BRIDGE if (output / n).read_bytes() != (other / n).read_bytes()]
    for name in (STATE_FILE, DECAY_FILE):
        mine, its = last_state(output, name)["learned"], last_state(other, name)["learned"]
        found += [f"{name} {key}" for key in its if not torch.equal(mine[key], its[key])]
    return found


def stopped_at(point: int, config: TrainConfig, output: Path, whole: Path) -> list[str]:
    with watched(output, stop_at=point), pytest.raises(Killed):
        train(TEXTS, config, output, log=quiet)
    train(TEXTS, config, output, log=quiet)
    return differences(output, whole)


def check(points: list[int], config: TrainConfig, home: Path, whole: Path) -> None:
    wrong = {n: stopped_at(n, config, home / str(n), whole) for n in points}
    print(f"{len(points)} points")
    assert not any(wrong.values()), {n: what for n, what in wrong.items() if what}


@pytest.mark.slow
def test_some_points(config, whole, tmp_path):
    directory, changes = whole
    assert changes > 20
    check(np.linspace(0, changes - 1, SOME).astype(int).tolist(), config, tmp_path, directory)


@pytest.mark.long
def test_all_points(config, whole, tmp_path):
    check(list(range(whole[1])), config, tmp_path, whole[0])


def test_a_branch_that_was_stopped_in_a_save_is_not_begun_again(config, whole, tmp_path):
    output = tmp_path / "branch"
    branch_off(whole[0], output)
    os.replace(output / STATE_FILE, output / f"previous_{STATE_FILE}")  # without hard links
    branch_off(whole[0], output)
    assert not (output / STATE_FILE).exists()
