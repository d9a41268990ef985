"""Run a model that reads texts on a GPU of the cluster if there is one, else in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from smotext_ray.cluster import pools, session
from smotext_ray.cluster.gpus import gpu_options
from smotext_ray.config.schema import RunConfig

Model = Callable[[list[str]], Any]


class Reader:
    """A model that reads texts, loaded on the first call.

    With a GPU it is a Ray actor that reserves the GPU: the driver's machine may have none, or the
    actors of a decode job may hold it. Only one such actor exists at a time, because the cluster
    may have a single GPU: loading a Reader there replaces the previous one.

    Parameters
    ----------
    load : callable
        Returns the model: a callable that takes a list of texts.
    config : RunConfig
        The actor reserves ``resources.gpus_per_encoder``.
    whole_gpu : bool, default=False
        Reserve one whole GPU instead.
    """

    _on_gpu: ClassVar[Reader | None] = None

    def __init__(
        self, load: Callable[[], Model], config: RunConfig, whole_gpu: bool = False
    ) -> None:
        self._load, self._config, self._whole_gpu = load, config, whole_gpu
        self._model: Model | None = None
        self._actor: Any = None

    def __call__(self, texts: list[str]) -> Any:
        """The model's output for the texts."""
        if self._model is None:
            self._model = self._start()
        return self._model(texts)

    def release(self) -> None:
        """Free the model's memory; the next call loads it again."""
        if self._actor is not None:
            import ray

            ray.kill(self._actor)
        self._model = self._actor = None

    def _start(self) -> Model:
        gpus = gpu_share(self._config)
        if not gpus:
            return self._load()
        import ray

        if Reader._on_gpu is not None:
            Reader._on_gpu.release()
        Reader._on_gpu = self
        gpus = 1.0 if self._whole_gpu else gpus
        options = gpu_options(gpus, self._config.resources.gpu_type)
        self._actor = ray.remote(num_cpus=1, **options)(_ReaderActor).remote(self._load)
        return lambda texts: _writable(ray.get(self._actor.read.remote(texts)))


class _ReaderActor:
    def __init__(self, load: Callable[[], Model]) -> None:
        self.model = load()

    def read(self, texts: list[str]) -> Any:
        return self.model(texts)


def gpu_share(config: RunConfig) -> float:
    """Share of a GPU that an encoder reserves; 0.0 if it runs in this process.

    Does not start Ray just to find out that the machine has no GPU.
    """
    import torch

    if not torch.cuda.is_available() and not os.environ.get("RAY_ADDRESS"):
        return 0.0
    return pools.encoder_pool(session.connect(config.resources.gpu_type), config, blocks=1).gpus


def _writable(found: Any) -> Any:
    # Ray hands out read-only arrays.
    return np.array(found) if isinstance(found, np.ndarray) else found
