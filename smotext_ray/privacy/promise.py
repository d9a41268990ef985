"""The guarantee of a run with epsilon, in numbers and in words."""

from __future__ import annotations

from importlib import metadata

from pydantic import BaseModel, ConfigDict

from smotext_ray.config.choices import Relation
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.privacy.directions import read_directions
from smotext_ray.privacy.release import noise_scale, opendp
from smotext_ray.privacy.sums import SENSITIVITY

UNITS_OF: dict[Relation, str] = {
    "add_or_remove": "one record, text and label: it may be in the corpus or not",
    "replace": "one record, text and label: it may be any other",
}


class Promise(BaseModel):
    """The privacy guarantee of a run with epsilon, and its assumptions.

    Attributes
    ----------
    epsilon, delta : float
    unit : str
        The unit that it protects.
    mechanism : str
    sensitivity : float
        L2 sensitivity of all released counts and sums together.
    clip_norm : float
    dimensions : int
        Number of dimensions of the sums.
    sigma : float
        Standard deviation of the noise on each released number, in the units of the sensitivity.
    accountant : str
        How sigma follows from epsilon, and the library that draws the noise.
    assumes : str
    neighbors : {"add_or_remove", "replace"} or None
        How neighboring corpora differ; None in a run of an earlier version, which added noise to
        each record.
    labels : str or None
        What is protected about them.
    public_data : str or None
        What is considered public, and thus has no guarantee.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epsilon: float
    delta: float
    unit: str
    mechanism: str
    sensitivity: float
    clip_norm: float
    dimensions: int
    sigma: float
    accountant: str
    assumes: str
    neighbors: Relation | None = None
    labels: str | None = None
    public_data: str | None = None

    def in_words(self) -> str:
        """The guarantee in a few sentences."""
        told = (
            f"Differentially private with epsilon {self.epsilon:g} and delta {self.delta:g} for "
            f"{self.unit}; the L2 sensitivity is {self.sensitivity:.4g}. "
        )
        if self.labels is not None:
            told += f"Labels: {self.labels}. "
        if self.public_data is not None:
            told += f"Public: {self.public_data}. "
        return f"{told}Assumed: {self.assumes}."


def promise(config: RunConfig, directions: dict[str, str]) -> Promise:
    """The privacy guarantee of a run with epsilon, for the manifest.

    Parameters
    ----------
    config : RunConfig
        Must have ``privacy.epsilon``.
    directions : dict
        From the manifest: their name and source.
    """
    privacy = config.privacy
    assert privacy.epsilon is not None
    opendp()  # reports a missing library before anything is written
    names = "declared with privacy.classes" if privacy.classes else "released above a threshold"
    return Promise(
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        unit=UNITS_OF[privacy.neighbors],
        mechanism="Gaussian noise on the count and the sum of clipped embeddings of each class",
        sensitivity=SENSITIVITY[privacy.neighbors] * privacy.clip_norm,
        clip_norm=privacy.clip_norm,
        dimensions=len(read_directions(privacy).variances),
        sigma=noise_scale(privacy) * privacy.clip_norm,
        accountant=(
            "exact for Gaussian noise (arXiv:1805.06530); noise by opendp "
            f"{metadata.version('opendp')}"
        ),
        assumes=(
            "a person is in one record only; this is the only release of the corpus, or all are "
            "in its ledger; encoder, LLM, bridge and directions are not trained on the records"
        ),
        neighbors=privacy.neighbors,
        labels=f"the label of each record is protected like its text; class names are {names}",
        public_data=(
            "the models and what they were trained on; the directions "
            f"({directions.get('source', directions['name'])}); the type of the label column"
        ),
    )


def check_input(config: RunConfig, rows: int) -> None:
    """Reject settings for which the guarantee would not hold.

    Raises
    ------
    UserError
    """
    if config.input.id_column is not None:
        raise UserError(
            "With privacy.epsilon no row is identified, because ids may reveal who is in "
            "the corpus; omit --id-column."
        )
    if config.privacy.delta * rows >= 1:
        raise UserError(
            f"privacy.delta is {config.privacy.delta:g} for {rows} rows, which allows "
            f"leaking one of them; set it well under {1 / rows:.0e}."
        )
