"""A model is loaded when it is needed, where there is a GPU, and one at a time there."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from smotext_ray.cluster import connect as connect_module
from smotext_ray.config.load import load_config
from smotext_ray.evaluation.reader import Reader

CONFIG = load_config(overrides=["resources.gpus_per_encoder=0.5"])


def test_without_a_gpu_it_is_loaded_here_at_the_first_call_and_ray_is_not_started(monkeypatch):
    def connect():
        raise AssertionError("Ray was started")

    monkeypatch.setattr(connect_module, "connect", connect)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    loads = []

    def load():
        loads.append(os.getpid())
        return len

    reader = Reader(load, CONFIG)
    assert loads == []
    assert reader(["a", "b"]) == 2 and reader(["a"]) == 1
    assert loads == [os.getpid()]
    reader.release()
    assert reader([]) == 0 and len(loads) == 2


@pytest.fixture(scope="module")
def one_gpu():
    """A cluster whose GPU Ray only counts; the driver has none."""
    import ray

    quiet = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
    ray.init(address="local", num_cpus=6, num_gpus=1, **quiet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "the one above")
        yield ray
    ray.shutdown()


def place(name):
    """Loads a model that tells where it is."""

    def load():
        import os

        import numpy as np

        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        return lambda texts: (name, os.getpid(), shown, np.zeros((len(texts), 2), np.float32))

    return load


def test_with_a_gpu_in_the_cluster_it_is_loaded_there(one_gpu):
    reader = Reader(place("encoder"), CONFIG)
    name, process, shown, _ = reader(["a"])
    assert (name, shown) == ("encoder", "0") and process != os.getpid()
    assert reader(["a"])[1] == process
    assert one_gpu.available_resources()["GPU"] == 0.5
    reader.release()
    assert freed(one_gpu)


def freed(ray) -> bool:
    end = time.monotonic() + 120
    while ray.available_resources().get("GPU", 0) < 1 and time.monotonic() < end:
        time.sleep(0.1)
    return ray.available_resources().get("GPU") == 1


def test_two_that_need_the_only_gpu_take_turns(one_gpu):
    encoder = Reader(place("encoder"), CONFIG)
    llm = Reader(place("LLM"), CONFIG, whole_gpu=True)
    assert [reader(["a"])[0] for reader in (encoder, llm, llm, encoder)] == [
        *("encoder", "LLM", "LLM", "encoder")
    ]
    encoder.release()
    assert freed(one_gpu)


def test_arrays_that_come_back_can_be_written(one_gpu):
    reader = Reader(lambda: lambda texts: np.zeros((len(texts), 2), np.float32), CONFIG)
    found = reader(["a", "b"])
    assert found.shape == (2, 2) and found.flags.writeable
    reader.release()


def test_who_encodes_on_cpus_does_so_here(one_gpu):
    config = load_config(overrides=["resources.gpus_per_encoder=0"])
    assert Reader(place("encoder"), config)([])[1] == os.getpid()
