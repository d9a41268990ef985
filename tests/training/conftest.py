"""Trainings and imports of tiny models, each made once for all tests that only read it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_training import TEXTS, quiet, tiny_config
from tiny_xrag import tiny_xrag

from smotext_ray.training.config import TrainConfig
from smotext_ray.training.train import train
from smotext_ray.training.xrag import ImportedXrag, import_xrag


@pytest.fixture(scope="session")
def config(tmp_path_factory) -> TrainConfig:
    return tiny_config(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def trained(config, tmp_path_factory):
    """An uninterrupted training: its bridge and its directory."""
    output = tmp_path_factory.mktemp("bridge")
    return train(TEXTS, config, output, log=quiet), output


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    return tiny_xrag(tmp_path_factory.mktemp("original") / "xrag-tiny")


@pytest.fixture(scope="session")
def imported(original, tmp_path_factory) -> ImportedXrag:
    return import_xrag(str(original), tmp_path_factory.mktemp("imported") / "xrag", log=quiet)


@pytest.fixture
def broken(original, tmp_path) -> Path:
    """A copy of the checkpoint for a test to spoil."""
    return Path(shutil.copytree(original, tmp_path / "broken"))
