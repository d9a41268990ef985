"""The release of embeddings: clipped and noised, once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.privacy.directions import read_directions
from smotext_ray.privacy.mechanism import add_noise, clip, noise_scale
from smotext_ray.tables import fixed_size_list


class Release:
    """The one way out for an embedding of a record: clipped and noised.

    Parameters
    ----------
    config : RunConfig
        With ``privacy.epsilon``.
    """

    def __init__(self, config: RunConfig) -> None:
        self._directions = read_directions(config.privacy)
        self._norm = config.privacy.clip_norm
        self._scale = noise_scale(config.privacy)

    def __call__(self, table: pa.Table, embeddings: np.ndarray) -> pa.Table:
        """``id, text, label`` and their embeddings -> ``id, label, embedding``, noised.

        A block that is encoded again after a kill gets other noise. Two releases of a record
        would halve its noise, so only one may stay: Ray Data deletes what was written and not
        committed before it resumes, and `denoise` counts.
        """
        clipped = clip(self._directions.coordinates(embeddings), self._norm)
        noised = fixed_size_list(add_noise(clipped, self._scale))
        return table.select(["id", "label"]).append_column("embedding", noised)


def check_input(config: RunConfig, rows: int) -> None:
    """Refuse what the promise could not be kept for.

    Raises
    ------
    UserError
    """
    if config.input.id_column is not None:
        raise UserError(
            "With privacy.epsilon rows are known by their number, as ids may tell who is in the "
            "corpus; leave --id-column out."
        )
    if config.privacy.delta * rows >= 1:
        raise UserError(
            f"privacy.delta is {config.privacy.delta:g} for {rows} rows, which allows that "
            f"one of them is given away; set it well under {1 / rows:.0e}."
        )
