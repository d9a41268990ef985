"""Arms that give synthetic rows less weight than real ones, or soft labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility.features import unit_rows
from smotext_ray.evaluation.utility.training_sets import TrainingSet, splits
from smotext_ray.evaluation.utility.tuned import Linear, fit_embeddings
from smotext_ray.evaluation.utility.tuning import FOLDS, choose
from smotext_ray.run.sample_weight import synthetic_weights

CONSTANTS = (0.1, 0.3, 1.0)
FAINT = 0.01  # a soft label below this is dropped
SETTING = Linear(10.0, balanced=True)  # of the classifier that chooses a constant


def weighted_by_class(own: TrainingSet) -> TrainingSet:
    """A class's synthetic rows have the same total weight as its real ones, at most 1 each."""
    labels = own.rows.labels
    of_class = synthetic_weights(Counter(labels[: own.real]), Counter(labels[own.real :]))
    each = [of_class[label] for label in labels[own.real :]]
    return replace(own, weight=np.array([1.0] * own.real + each))


def balanced_by_class(own: TrainingSet) -> TrainingSet:
    """All classes have equal weight, half of it on real and half on synthetic rows."""
    labels, numbers = np.asarray(own.rows.labels), np.arange(len(own))
    weight = np.zeros(len(own))
    for name in np.unique(labels):
        of_class = numbers[labels == name]
        halves = [of_class[of_class < own.real], of_class[of_class >= own.real]]
        filled = [half for half in halves if len(half)]
        for half in filled:
            weight[half] = 1 / len(filled) / len(half)
    return replace(own, weight=weight)


def weighted_by_constant(own: TrainingSet, seed: int) -> TrainingSet:
    """Every synthetic row has the weight from ``CONSTANTS`` chosen by cross-validation.

    Chosen with logistic regression on embeddings with balanced classes, on the arm's own rows.
    """

    def fit_each(train: TrainingSet, unseen: Rows, constants: Sequence[float]) -> list[list[str]]:
        return [fit_embeddings(_weighed(train, c), unseen, [SETTING])[0] for c in constants]

    return _weighed(own, choose(own, CONSTANTS, fit_each, seed))


def weighted_by_teacher(own: TrainingSet, seed: int) -> TrainingSet:
    """A synthetic row's weight is the teacher's probability of its class; see `teach_new`."""
    classes, probability = teach_new(own, seed)
    codes = np.searchsorted(classes, own.rows.labels[own.real :])
    each = probability[np.arange(len(codes)), codes]
    return replace(own, weight=np.concatenate([np.ones(own.real), each]))


def softly_labeled(own: TrainingSet, seed: int) -> TrainingSet:
    """A synthetic row occurs once per class, with the teacher's probability as its weight."""
    classes, probability = teach_new(own, seed)
    rows, codes = np.nonzero(probability > FAINT)
    taken = np.concatenate([np.arange(own.real), own.real + rows])
    spread = own.rows.take(taken)
    labels = own.rows.labels[: own.real] + [str(classes[code]) for code in codes]
    weight = np.concatenate([np.ones(own.real), probability[rows, codes]])
    return TrainingSet(replace(spread, labels=labels), own.origins[taken], own.real, weight)


def teach_new(own: TrainingSet, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities of the synthetic rows, from a teacher that has not seen their parents.

    Logistic regression on the embeddings of the real rows, once without each fold; it judges the
    synthetic rows with a parent in that fold. Rows with parents in several folds get the mean.

    Returns
    -------
    classes : ndarray of str, shape (c,)
        Sorted.
    probability : ndarray of shape (synthetic, c)
    """
    real = np.arange(own.real)
    classes = np.unique(np.asarray(own.rows.labels[: own.real], dtype=str))
    origins = own.origins[own.real :]
    total, times = np.zeros((len(origins), len(classes))), np.zeros(len(origins))
    for train, validate in splits(own, FOLDS, seed):
        held_out = own.origins[validate, 0]
        judged = np.asarray(np.isin(origins, held_out).any(axis=1))
        seen = train[train < own.real]
        total[judged] += _probabilities(own, seen, judged, classes)
        times[judged] += 1
    left = times == 0
    total[left] += _probabilities(own, real, left, classes)
    return classes, total / np.maximum(times, 1)[:, None]


def _probabilities(
    own: TrainingSet, seen: np.ndarray, judged: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    x = unit_rows(own.rows)
    found = np.zeros((int(judged.sum()), len(classes)))
    labels = [own.rows.labels[row] for row in seen]
    if not len(found):
        return found
    if len(set(labels)) == 1:  # scikit-learn cannot fit a single class
        found[:, np.searchsorted(classes, labels[0])] = 1
        return found
    model = LogisticRegression(C=10, max_iter=2000, class_weight="balanced").fit(x[seen], labels)
    columns = np.searchsorted(classes, model.classes_)
    found[:, columns] = model.predict_proba(x[own.real :][judged])
    return found


def _weighed(training: TrainingSet, constant: float) -> TrainingSet:
    new = len(training) - training.real
    return replace(training, weight=np.array([1.0] * training.real + [constant] * new))
