"""SMOTExT on Ray: balance text datasets by interpolation in embedding space."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smotext_ray._version import __version__

if TYPE_CHECKING:
    from smotext_ray import plot
    from smotext_ray.api.datasets import augment_split
    from smotext_ray.api.interpolate import interpolate
    from smotext_ray.api.ray_data import augment
    from smotext_ray.api.sampler import SMOTExT


__all__ = ["SMOTExT", "__version__", "augment", "augment_split", "interpolate", "plot"]

# Imported lazily: it takes seconds, and the command line does not need them.
_PLACES = {
    "SMOTExT": "smotext_ray.api.sampler",
    "augment": "smotext_ray.api.ray_data",
    "augment_split": "smotext_ray.api.datasets",
    "interpolate": "smotext_ray.api.interpolate",
}


def __getattr__(name: str) -> Any:
    from smotext_ray.utils.bars import ask_for_no_widgets

    ask_for_no_widgets()
    if name == "plot":
        return import_module("smotext_ray.plot")
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
