"""What a classifier is trained on: rows, their weights, and the real rows each was made of."""

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
        Numbers of the real rows that a row was made of, padded with -1; a real row names
        itself. A row of -1 alone was made without any.
    real : int
        How many of the rows are real.
    weight : ndarray of shape (n,), optional
        Of each row in the loss.
    """

    rows: Rows
    origins: np.ndarray
    real: int
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: np.ndarray) -> TrainingSet:
        """The set with these rows alone, by rising number."""
        weight = None if self.weight is None else self.weight[indices]
        real = int(np.searchsorted(indices, self.real))
        return TrainingSet(self.rows.take(indices), self.origins[indices], real, weight)

    def joined(self, added: Rows, origins: np.ndarray | None) -> TrainingSet:
        """The set with further rows, made of these real ones; without weights.

        Parameters
        ----------
        added : Rows
            Length m.
        origins : ndarray of int64, shape (m, q), or None
            None for rows that no real ones went into.
        """
        given = np.full((len(added), 1), -1) if origins is None else origins
        width = max(self.origins.shape[1], given.shape[1])
        both = [np.pad(x, ((0, 0), (0, width - x.shape[1])), constant_values=-1)
                for x in (self.origins, given)]  # fmt: skip
        return TrainingSet(self.rows.joined(added), np.concatenate(both), self.real)

    def followed_by(self, other: TrainingSet, skip: int = 0) -> TrainingSet:
        """This set and the rows of another one from number ``skip`` on, of the same real rows."""
        rest = np.arange(skip, len(other))
        if not len(rest):
            return self
        return self.joined(other.rows.take(rest), other.origins[rest])


def of_real(rows: Rows, weight: np.ndarray | None = None) -> TrainingSet:
    """Real rows alone."""
    return TrainingSet(rows, np.arange(len(rows))[:, None], len(rows), weight)


def stratified_folds(labels: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """The fold of each row: every class is spread over the folds as evenly as it can be.

    Unlike scikit-learn's, a class may have fewer rows than there are folds: then some folds
    have none of it. The only row of a class is in no fold (-1), so that it is always trained on.

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
            # Classes smaller than the number of folds do not all miss the same ones.
            found[rows] = (np.arange(len(rows)) + rng.integers(folds)) % folds
    return found


def splits(training: TrainingSet, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to train on and rows to validate on, once per fold.

    Validated are real rows alone, and nothing that was made of them is trained on: a synthetic
    text between a row of the fold and another would tell its label. Where there are no real
    rows, those validate whose first parent is in the fold.

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
    """The fold of each real row, by its number, whether it is among the rows or only a parent."""
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
