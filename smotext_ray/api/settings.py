"""The sampler's parameters as settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from smotext_ray.config.load import load_config
from smotext_ray.config.schema import RunConfig

if TYPE_CHECKING:
    from smotext_ray.api.sampler import SMOTExT


def config_of(sampler: SMOTExT) -> RunConfig:
    """The settings that a sampler's parameters stand for, once its ``nn_k_`` is known.

    Raises
    ------
    UserError
        For an unknown setting or an invalid value.
    """
    seed = sampler.random_state
    if not isinstance(seed, (int, np.integer)):
        seed = check_random_state(seed).randint(2**31)
    options: dict[str, Any] = {
        "plan.seed": int(seed),
        "plan.variant": sampler.variant,
        "plan.n_clusters": sampler.n_clusters,
        "plan.neighbors_per_point": sampler.neighbors_per_point,
        "plan.alpha": sampler.alpha,
        "plan.max_rounds": sampler.max_rounds,
        "neighbors.k_neighbors": sampler.nn_k_.n_neighbors - 1,
        "neighbors.m_neighbors": sampler.m_neighbors,
        "neighbors.metric": sampler.metric,
        "neighbors.on_singleton_class": sampler.on_singleton_class,
        "bridge.path": sampler.bridge,
        "adapt.minutes": sampler.adapt_minutes,
    }
    for section in ("encoder", "decoder", "gate"):
        given = getattr(sampler, section)
        if isinstance(given, str):
            given = {"model": given}
        if isinstance(given, Mapping):
            options |= {f"{section}.{name}": value for name, value in given.items()}
    return load_config("offline", options=options | dict(sampler.options or {}))


def is_settings(given: Any) -> bool:
    """Whether a model is given by name or settings rather than as an object."""
    return given is None or isinstance(given, (str, Mapping))


def model_name(model: Any) -> str:
    """The name of a model passed as an object, for the manifest."""
    return f"{type(model).__module__}.{type(model).__qualname__}"
