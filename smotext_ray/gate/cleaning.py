"""Cleaning: find synthetic texts that lie among corpus texts of other classes.

The rules are imbalanced-learn's edited nearest neighbors and Tomek links, used after SMOTE as in
SMOTEENN and SMOTETomek. But the corpus is never cleaned, and each synthetic text is judged as if it
were the only one added, so that the decision does not depend on the other texts or on the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.dataset as ds
from numpy.typing import NDArray

from smotext_ray.config.choices import CleaningRule, Metric
from smotext_ray.config.schema import RunConfig
from smotext_ray.plan.classes import read_classes, rows_gib
from smotext_ray.plan.neighbors import nearest_neighbors

NEIGHBORS = 3  # EditedNearestNeighbours' default


class Cleaning:
    """Decides which synthetic texts a rule would remove from the corpus.

    Parameters
    ----------
    rule : {"enn", "tomek"}
    classes : sequence of ndarray of float32, shape (rows, d)
        The embeddings of each class of the corpus.
    metric : {"cosine", "euclidean"}
    """

    def __init__(
        self, rule: CleaningRule, classes: Sequence[NDArray[np.float32]], metric: Metric
    ) -> None:
        self._removed = {"enn": has_other_neighbors, "tomek": has_tomek_link}[rule]
        self._classes = classes
        self._metric = metric

    def __call__(
        self, embeddings: NDArray[np.float32], owners: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether each synthetic text would be removed.

        Parameters
        ----------
        embeddings : ndarray of float32, shape (n, d)
            Rows with NaN or infinite values are skipped: False.
        owners : ndarray of int64, shape (n,)
            Index of each text's class in ``classes``.

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        removed = np.zeros(len(owners), bool)
        if not len(owners):
            return removed
        sound = np.isfinite(embeddings).all(axis=1)
        removed[sound] = self._removed(
            embeddings[sound], owners[sound], self._classes, self._metric
        )
        return removed


def cleaning_of(config: RunConfig, source: ds.Dataset, labels: Sequence[Any]) -> Cleaning | None:
    """The cleaning configured for a run, with its corpus, or None.

    Parameters
    ----------
    config : RunConfig
    source : pyarrow.dataset.Dataset
        For `smotext_ray.plan.classes.read_classes`, which keeps large embeddings on disk.
    labels : sequence
        Every class of the corpus.
    """
    rule = config.gate.cleaning
    if rule == "none":
        return None
    classes = [rows.embeddings for rows in read_classes(source, labels)]
    return Cleaning(rule, classes, config.neighbors.metric)


def cleaning_gib(config: RunConfig, source: ds.Dataset) -> float:
    """Memory needed by `cleaning_of`, in GiB."""
    if config.gate.cleaning == "none":
        return 0.0
    return rows_gib(source.count_rows(), source.schema.field("embedding").type.list_size)


def has_other_neighbors(
    embeddings: NDArray[np.float32],
    owners: NDArray[np.int64],
    classes: Sequence[NDArray[np.float32]],
    metric: Metric,
) -> NDArray[np.bool_]:
    """Edited nearest neighbors: whether any of the three nearest texts is of another class.

    `imblearn.under_sampling.EditedNearestNeighbours` with ``kind_sel="all"`` [1]_. Ties are
    resolved in favor of the same class. A class with fewer than three texts always has others among
    its neighbors, unless there is no other class.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n, d)
        Finite.
    owners : ndarray of int64, shape (n,)
    classes : sequence of ndarray of float32, shape (rows, d)
        At least one row each.
    metric : {"cosine", "euclidean"}

    Returns
    -------
    ndarray of bool, shape (n,)

    References
    ----------
    .. [1] Wilson: Asymptotic properties of nearest neighbor rules using edited data. IEEE
       Transactions on Systems, Man, and Cybernetics, 1972.

    Examples
    --------
    >>> classes = [np.array([[0], [1], [2]], np.float32), np.array([[4]], np.float32)]
    >>> new = np.array([[1.5], [2.5]], np.float32)
    >>> has_other_neighbors(new, np.array([0, 0]), classes, "euclidean").tolist()
    [False, True]
    """
    own = np.full(len(owners), np.inf)  # distance to the third nearest of its class
    other = np.full(len(owners), np.inf)
    for code, rows in enumerate(classes):
        mine = owners == code
        if len(rows) >= NEIGHBORS:
            own[mine] = nearest_neighbors(embeddings[mine], rows, NEIGHBORS, metric)[0][:, -1]
        near = nearest_neighbors(embeddings[~mine], rows, 1, metric)[0][:, 0]
        other[~mine] = np.minimum(other[~mine], near)
    return other < own


def has_tomek_link(
    embeddings: NDArray[np.float32],
    owners: NDArray[np.int64],
    classes: Sequence[NDArray[np.float32]],
    metric: Metric,
) -> NDArray[np.bool_]:
    """Tomek links: whether a text and one of another class are each other's nearest.

    `imblearn.under_sampling.TomekLinks` [1]_. Ties do not form a link.

    Same parameters and result as `has_other_neighbors`.

    References
    ----------
    .. [1] Tomek: Two modifications of CNN. IEEE Transactions on Systems, Man, and
       Cybernetics, 1976.

    Examples
    --------
    >>> classes = [np.array([[0], [1]], np.float32), np.array([[4], [6]], np.float32)]
    >>> new = np.array([[1.5], [3.5]], np.float32)
    >>> has_tomek_link(new, np.array([0, 0]), classes, "euclidean").tolist()
    [False, True]
    """
    own, other = np.full(len(owners), np.inf), np.full(len(owners), np.inf)
    partner = np.zeros((len(owners), 2), np.int64)  # class and row of the nearest other
    for code, rows in enumerate(classes):
        near, at = nearest_neighbors(embeddings, rows, 1, metric)
        mine = owners == code
        own[mine] = near[mine, 0]
        nearer = ~mine & (near[:, 0] < other)
        other[nearer] = near[nearer, 0]
        partner[nearer, 0], partner[nearer, 1] = code, at[nearer, 0]
    linked = np.flatnonzero(other < own)
    of_partner = [_nearest_other_row(classes, code, row, metric) for code, row in partner[linked]]
    removed = np.zeros(len(owners), bool)
    removed[linked] = other[linked] < np.array(of_partner)
    return removed


def _nearest_other_row(
    classes: Sequence[NDArray[np.float32]], code: int, row: int, metric: Metric
) -> float:
    """Distance of a corpus text to its nearest other text."""
    query = classes[code][row][None]
    found = [np.inf]
    for other, rows in enumerate(classes):
        k = min(1 + (other == code), len(rows))
        near, at = nearest_neighbors(query, rows, k, metric)
        itself = (at[0] == row) & (other == code)
        if other == code and not itself.any():
            itself[-1] = True  # it comes after others with the same embedding
        found += near[0][~itself].tolist()
    return min(found)
