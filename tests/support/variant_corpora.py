"""Corpora and settings for tests of the SMOTE variants."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from smotext_ray.config.schema import RunConfig
from smotext_ray.tables import fixed_size_list

K, M, CLUSTERS, SEED = 4, 8, 5, 3


def on_the_sphere():
    """Unit vectors of four classes that lie among each other."""
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1, 2, 3], [100, 50, 30, 20])
    x = rng.normal(size=(200, 12)) + rng.normal(size=(4, 12))[y]
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


def table_of(x, y, texts=None):
    """A corpus in the order of its classes and ids, as imbalanced-learn is to see it."""
    order = np.argsort(y, kind="stable")
    return pa.table(
        {
            "id": np.arange(len(x)),
            "text": [f"text {i}" for i in range(len(x))] if texts is None else texts,
            "label": [f"class {label}" for label in np.asarray(y)[order]],
            "embedding": fixed_size_list(np.asarray(x, np.float32)[order]),
        }
    )


def config_of(variant, metric="euclidean", **plan):
    """Settings of a variant, with these numbers of neighbors and clusters."""
    return RunConfig.model_validate(
        {
            "encoder": {"normalize": False},
            "neighbors": {"k_neighbors": K, "m_neighbors": M, "metric": metric},
            "plan": {"variant": variant, "n_clusters": CLUSTERS, "seed": SEED, **plan},
        }
    )
