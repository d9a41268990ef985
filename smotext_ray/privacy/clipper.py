"""Turn a block of embeddings into a block of clipped record vectors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.privacy.directions import read_directions
from smotext_ray.privacy.sums import record_vector
from smotext_ray.tables import fixed_size_list


class Clipper:
    """Clips embeddings projected to the public directions.

    Parameters
    ----------
    privacy : PrivacyConfig
        Must have an epsilon.
    """

    def __init__(self, privacy: PrivacyConfig) -> None:
        self._directions = read_directions(privacy)
        self._norm = privacy.clip_norm

    def __call__(self, table: pa.Table, embeddings: np.ndarray) -> pa.Table:
        """Map ``id, text, label`` and their embeddings to ``id, label, embedding``, clipped.

        The vectors are those of `record_vector`, as floats that hold whole numbers. Each row is
        projected by itself, so that its vector does not depend on other rows.
        """
        vectors = np.empty((len(embeddings), len(self._directions.variances)), np.float32)
        for row, embedding in enumerate(embeddings):
            coordinates = self._directions.coordinates(embedding[None])[0]
            vectors[row] = record_vector(coordinates, self._norm)
        return table.select(["id", "label"]).append_column("embedding", fixed_size_list(vectors))
