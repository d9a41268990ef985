"""The sampler's own neighbor search, as an object with scikit-learn's methods."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from smotext_ray.config.choices import Metric
from smotext_ray.plan.neighbors import nearest_neighbors


class FaissNeighbors(BaseEstimator):
    """Exact nearest neighbors, reproducible on every machine, as used in runs.

    Parameters
    ----------
    n_neighbors : int
        Number of neighbors, including the row itself.
    metric : {"cosine", "euclidean"}, default="cosine"
    """

    def __init__(self, n_neighbors: int = 6, metric: Metric = "cosine") -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric

    def fit(self, X: NDArray[Any], y: Any = None) -> FaissNeighbors:
        """Store the rows to search: an array of shape (n, d)."""
        self._base = np.asarray(X, np.float32)
        return self

    def kneighbors(
        self, X: NDArray[Any], n_neighbors: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Distances and rows, each of shape (queries, n_neighbors), nearest first."""
        check_is_fitted(self, "_base")
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        return nearest_neighbors(np.asarray(X, np.float32), self._base, k, self.metric)


def neighbors_object(k_neighbors: Any, metric: Any = "cosine") -> Any:
    """What the parameters ``k_neighbors`` and ``metric`` stand for; an object is cloned.

    Raises
    ------
    ValueError
    """
    if isinstance(k_neighbors, (int, np.integer)) and not isinstance(k_neighbors, bool):
        if k_neighbors < 1:
            raise ValueError(f"k_neighbors must be at least 1, not {k_neighbors}.")
        return FaissNeighbors(int(k_neighbors) + 1, metric)
    if all(hasattr(k_neighbors, name) for name in ("fit", "kneighbors", "n_neighbors")):
        return clone(k_neighbors)
    raise ValueError(
        "k_neighbors must be a number, or an object with n_neighbors, fit and kneighbors, not "
        f"{k_neighbors!r}."
    )
