"""Two LLMs have two places in the cache, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers.utils
from tiny_models import tiny_llm

from smotext_ray.models.served_llm import _source

NAMES = (
    "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T",
    "TinyLlama/TinyLlama-1.1B-intermediate-step-715k-1.5T",
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct",
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
    "a-b/c",
    "a/b-c",
)


@pytest.fixture
def hub(monkeypatch):
    """The hub's cache on this machine, with one revision of every model."""
    revision = ["1" * 40]

    def cached_file(name, file):
        return f"/cache/models--{name.replace('/', '--')}/snapshots/{revision[0]}/{file}"

    monkeypatch.setattr(transformers.utils, "cached_file", cached_file)
    return revision


def test_names_that_are_alike_do_not_collide(hub):
    assert len({_source(name) for name in NAMES}) == len(NAMES)
    assert all("/" not in _source(name) for name in NAMES)


def test_a_new_revision_is_another_model(hub):
    before = _source(NAMES[0])
    hub[0] = "2" * 40
    assert _source(NAMES[0]) != before


def test_a_directory_is_known_by_its_weights(tmp_path):
    one = str(tiny_llm(tmp_path / "one"))
    moved = Path(one).rename(tmp_path / "moved")
    assert _source(str(moved)) == _source(str(tiny_llm(tmp_path / "again")))
