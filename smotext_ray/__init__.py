"""SMOTExT on Ray: new labelled texts by interpolation in embedding space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smotext_ray.sampler import SMOTExT

__version__ = "0.1.0"
__all__ = ["SMOTExT", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "SMOTExT":  # its imports take seconds, which the command line does not need
        from smotext_ray.sampler import SMOTExT

        return SMOTExT
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
