"""Models of the sampler in this process, loaded once and kept for later fits."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from smotext_ray.config.schema import RunConfig

MOST_TEXTS = 2_000  # decoded in this process; larger jobs run on Ray by default


def encoder_of(config: RunConfig) -> Any:
    """The encoder that the settings name."""
    return _loaded_encoder(_key(config))


def decoder_of(config: RunConfig) -> Any:
    """The decoder that the settings name."""
    return _loaded_decoder(_key(config))


def _key(config: RunConfig) -> str:
    """The sections that determine which models are loaded, and how."""
    return config.model_dump_json(include={"encoder", "bridge", "decoder"})


@lru_cache(maxsize=1)
def _loaded_encoder(key: str) -> Any:
    from smotext_ray.models.load import load_encoder

    with _quiet():
        return load_encoder(RunConfig.model_validate_json(key))


@lru_cache(maxsize=1)
def _loaded_decoder(key: str) -> Any:
    from smotext_ray.models.load import load_decoder

    # A separate process would import the user's script again, which may lack `if __name__ ==
    # "__main__":`.
    config = RunConfig.model_validate_json(key)
    with _quiet():
        return load_decoder(config, own_process=False, expected_texts=MOST_TEXTS)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the libraries' warnings and progress bars, which are of no use to a user."""
    from smotext_ray.models.engine_device import set_environment

    set_environment()  # before vLLM and torch are imported
    # vLLM logs its first lines before it configures logging, so Python would print them.
    logging.getLogger("vllm").addHandler(logging.NullHandler())
    from transformers.utils import logging as progress

    was_shown = progress.is_progress_bar_enabled()
    progress.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if was_shown:
            progress.enable_progress_bar()
