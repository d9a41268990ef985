"""What a classifier is trained on: rows, their weights, and the real rows behind each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smotext_ray.evaluation.rows import Rows


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The rows of an arm.

    Attributes
    ----------
    rows : Rows
        Length n; real rows first.
    origins : ndarray of int64, shape (n, p)
        Numbers of the real rows that a row was made from, padded with -1; a real row has its own
        number. Only -1: the row was made without real ones.
    real : int
        Number of real rows.
    weight : ndarray of shape (n,), optional
        Weight of each row in the loss.
    """

    rows: Rows
    origins: np.ndarray
    real: int
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: np.ndarray) -> TrainingSet:
        """The set with only these rows; ``indices`` must ascend."""
        weight = None if self.weight is None else self.weight[indices]
        real = int(np.searchsorted(indices, self.real))
        return TrainingSet(self.rows.take(indices), self.origins[indices], real, weight)

    def joined(self, added: Rows, origins: np.ndarray | None) -> TrainingSet:
        """The set with additional rows made from its real ones; without weights.

        Parameters
        ----------
        added : Rows
            Length m.
        origins : ndarray of int64, shape (m, q), or None
            None for rows made without real ones.
        """
        given = np.full((len(added), 1), -1) if origins is None else origins
        width = max(self.origins.shape[1], given.shape[1])
        both = [np.pad(x, ((0, 0), (0, width - x.shape[1])), constant_values=-1)
                for x in (self.origins, given)]  # fmt: skip
        return TrainingSet(self.rows.joined(added), np.concatenate(both), self.real)

    def followed_by(self, other: TrainingSet, skip: int = 0) -> TrainingSet:
        """This set and another's rows from number ``skip`` on, made from the same real rows."""
        rest = np.arange(skip, len(other))
        if not len(rest):
            return self
        return self.joined(other.rows.take(rest), other.origins[rest])


def of_real(rows: Rows, weight: np.ndarray | None = None) -> TrainingSet:
    """Real rows alone."""
    return TrainingSet(rows, np.arange(len(rows))[:, None], len(rows), weight)


def stratified_folds(labels: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """The fold of each row: every class is spread over the folds as evenly as it can be.

    Unlike in scikit-learn, a class may have fewer rows than there are folds; then some folds have
    none of it. The only row of a class is in no fold (-1), so that it is always trained on.

    Returns
    -------
    ndarray of int64, shape (n,)

    Examples
    --------
    >>> folds = stratified_folds(["a"] * 4 + ["b"], folds=2, seed=0)
    >>> sorted(folds[:4].tolist()), int(folds[4])
    ([0, 0, 1, 1], -1)
    """
    names, rng = np.asarray(labels), np.random.default_rng([seed, 17])
    found = np.full(len(names), -1)
    for name in sorted(set(labels)):
        rows = rng.permutation(np.flatnonzero(names == name))
        if len(rows) > 1:
            # So that classes smaller than the number of folds do not all miss the same folds.
            found[rows] = (np.arange(len(rows)) + rng.integers(folds)) % folds
    return found


def splits(training: TrainingSet, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to train on and rows to validate on, once per fold.

    Only real rows are validated on, and nothing made from them is trained on: a synthetic text
    between a row of the fold and another would reveal its label. Without real rows, those whose
    first parent is in the fold are validated on.

    Parameters
    ----------
    training : TrainingSet
    folds : int, at least 2
    seed : int

    Returns
    -------
    list of (ndarray, ndarray)
        Row numbers. Folds without rows to validate on, or to train on, are left out.
    """
    of_origin = _folds_of_origins(training, folds, seed)
    parents = np.where(training.origins >= 0, of_origin[training.origins], -1)
    may_judge = np.ones(len(training), bool)
    if training.real:
        may_judge[training.real :] = False
    found = []
    for fold in range(folds):
        train = np.flatnonzero((parents != fold).all(axis=1))
        validate = np.flatnonzero(may_judge & (parents[:, 0] == fold))
        if len(train) and len(validate):
            found.append((train, validate))
    return found


def _folds_of_origins(training: TrainingSet, folds: int, seed: int) -> np.ndarray:
    """The fold of each real row by its number, whether it is in the set or only a parent."""
    of_origin = np.full(int(training.origins.max(initial=0)) + 1, -1)
    if training.real:
        numbers = training.origins[: training.real, 0]
        labels = training.rows.labels[: training.real]
    else:
        numbers, first = np.unique(training.origins[:, 0], return_index=True)
        numbers, first = numbers[numbers >= 0], first[numbers >= 0]
        labels = [training.rows.labels[row] for row in first]
    of_origin[numbers] = stratified_folds(labels, folds, seed)
    return of_origin
