"""Release embeddings: clipped and noised, once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.privacy.directions import read_directions
from smotext_ray.privacy.mechanism import add_noise, clip, noise_scale
from smotext_ray.tables import fixed_size_list


class Release:
    """The only way an embedding of a record is released: clipped and noised.

    Parameters
    ----------
    config : RunConfig
        Must have ``privacy.epsilon``.
    """

    def __init__(self, config: RunConfig) -> None:
        self._directions = read_directions(config.privacy)
        self._norm = config.privacy.clip_norm
        self._scale = noise_scale(config.privacy)

    def __call__(self, table: pa.Table, embeddings: np.ndarray) -> pa.Table:
        """``id, text, label`` and their embeddings -> ``id, label, embedding``, noised.

        A block that is encoded again after a kill gets different noise. Two releases of a record
        would halve the variance of its noise, so only one may stay: Ray Data deletes uncommitted
        output before it resumes, and `denoise` checks the count.
        """
        clipped = clip(self._directions.coordinates(embeddings), self._norm)
        noised = fixed_size_list(add_noise(clipped, self._scale))
        return table.select(["id", "label"]).append_column("embedding", noised)


def check_input(config: RunConfig, rows: int) -> None:
    """Reject settings for which the guarantee would not hold.

    Raises
    ------
    UserError
    """
    if config.input.id_column is not None:
        raise UserError(
            "With privacy.epsilon rows are identified by number, because ids may reveal who is in "
            "the corpus; omit --id-column."
        )
    if config.privacy.delta * rows >= 1:
        raise UserError(
            f"privacy.delta is {config.privacy.delta:g} for {rows} rows, which allows "
            f"leaking one of them; set it well under {1 / rows:.0e}."
        )
