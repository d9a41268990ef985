"""Models of the sampler in this process, loaded once and kept for later fits."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from smotext_ray.config.schema import RunConfig

MOST_TEXTS = 2_000  # that are decoded in this process; larger jobs run on Ray by default


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

    return load_encoder(RunConfig.model_validate_json(key))


@lru_cache(maxsize=1)
def _loaded_decoder(key: str) -> Any:
    from smotext_ray.models.load import load_decoder

    # Starting another process would import the user's script again, which may lack `if __name__ ==
    # "__main__":`.
    config = RunConfig.model_validate_json(key)
    return load_decoder(config, own_process=False, expected_texts=MOST_TEXTS)
