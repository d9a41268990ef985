"""Actors around models that the caller has loaded, for the `Local` executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.actors import (
    Actors,
    DecodeActor,
    EncodeActor,
    GateActor,
    PlanActor,
    WeightActor,
)
from smotext_ray.plan.neighbors import Nearest


def given_models(
    encoder: Callable[[], Any],
    decoder: Callable[[RunConfig], Any],
    models: dict[str, dict[str, str]],
    nearest: Nearest | None = None,
) -> Actors:
    """The real stages, with these models instead of those named in the settings.

    Each is requested only when a stage needs it: a finished run needs none.

    Parameters
    ----------
    encoder : callable
        Returns the encoder, which has ``encode(texts, batch_size)`` for an array of shape
        (texts, d).
    decoder : callable
        Returns the decoder for the settings of a job, which has ``decode(points, seeds)`` for a
        `smotext_ray.models.engine.Candidates` per point.
    models : dict
        As returned by `smotext_ray.models.load.check_models`.
    nearest : callable, optional
        See `smotext_ray.plan.neighbors.other_texts`.
    """

    class Encode(EncodeActor):
        def load_encoder(self, config: RunConfig) -> Any:
            return encoder()

    class Gate(GateActor):
        def load_encoder(self, config: RunConfig) -> Any:
            return encoder()

    class Decode(DecodeActor):
        def load_decoder(self, config: RunConfig, points: int) -> Any:
            return decoder(config)

    class Weigh(WeightActor):
        def nearest(self) -> Nearest | None:
            return nearest

    class Plan(PlanActor):
        def nearest(self) -> Nearest | None:
            return nearest

    return Actors(Encode, Weigh, Plan, Decode, Gate, lambda config: models)
