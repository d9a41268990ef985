"""The combined guarantee of several releases of the same corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smotext_ray.config.choices import Relation
from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.privacy.gaussian import composed, epsilon_at
from smotext_ray.privacy.release import noise_scale
from smotext_ray.privacy.sums import SENSITIVITY


@dataclass(frozen=True)
class Charge:
    """One release, as recorded in the ledger of a corpus.

    Attributes
    ----------
    noise : float
        Standard deviation of the noise, in multiples of the clipping norm.
    delta : float
        Delta of its guarantee.
    names_are_public : bool
        Whether the class names were public; otherwise they take half of delta.
    """

    noise: float
    delta: float
    names_are_public: bool

    @classmethod
    def of(cls, privacy: PrivacyConfig) -> Charge:
        """The charge of a release with these settings."""
        return cls(noise_scale(privacy), privacy.delta, bool(privacy.classes))


def total_epsilon(charges: Sequence[Charge], neighbors: Relation) -> tuple[float, float]:
    """The epsilon and delta that all releases of a corpus guarantee together.

    Deltas add up. Gaussian noise composes exactly, whatever was known when a later release was
    made; a class name adds its share of delta once per release, and no epsilon: if only one of two
    neighboring corpora has a class, all other counts and sums either do not depend on the record or
    are covered by the noise.

    Parameters
    ----------
    charges : sequence of Charge
        Not empty.
    neighbors : {"add_or_remove", "replace"}
        The relation to guarantee; each release has a guarantee for both.

    Returns
    -------
    epsilon, delta : float
    """
    mu = composed(SENSITIVITY[neighbors] / charge.noise for charge in charges)
    delta = sum(charge.delta for charge in charges)
    names = sum(charge.delta / 2 for charge in charges if not charge.names_are_public)
    return epsilon_at(mu, delta - names), delta
