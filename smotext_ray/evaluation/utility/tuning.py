"""Choose hyperparameters by cross-validation on an arm's training rows, equally for all arms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility.bootstrap import standard_error
from smotext_ray.evaluation.utility.training_sets import TrainingSet, splits

FOLDS = 4
# Rows used of larger training sets; possible because the penalty is relative to the mean loss.
MOST_ROWS = 1500
FEWEST_OF_CLASS = 20  # rows; with a smaller class, the best score is mostly luck

Setting = TypeVar("Setting")
# (training rows, rows to predict, settings to try) -> predicted labels under each setting. All
# settings at once, so that what they share, such as words, is computed once.
FitEach = Callable[[TrainingSet, Rows, Sequence[Setting]], Sequence[Sequence[str]]]


def choose(
    training: TrainingSet,
    settings: Sequence[Setting],
    fit_each: FitEach[Setting],
    seed: int,
    folds: int = FOLDS,
    within: float = 0.0,
) -> Setting:
    """The setting with the best macro-F1 over the folds, or the first that is nearly as good.

    Predictions of all folds are scored together: with two rows of a class per fold, a single fold
    says next to nothing about it. For a large training set, a random part is used.

    Parameters
    ----------
    training : TrainingSet
    settings : sequence
        From the strongest regularization to the weakest.
    fit_each : callable
        Fits each setting and predicts.
    seed : int
        Seed for drawing the folds.
    folds : int, default=4
    within : float, default=0
        Number of standard errors of the best score (bootstrap over the validated rows) by which
        another one may be lower, if some class has fewer than ``FEWEST_OF_CLASS`` rows to validate
        on: 1 is the one-standard-error rule [1]_.

    References
    ----------
    .. [1] Breiman, Friedman, Olshen, Stone: Classification and regression trees, section 3.4.3.
       Wadsworth, 1984.
    """
    from sklearn.metrics import f1_score

    if len(settings) == 1:
        return settings[0]
    truth: list[str] = []
    guesses: list[list[str]] = [[] for _ in settings]
    part = training.take(_some_rows(training, seed))
    for train, validate in splits(part, folds, seed):
        unseen = part.rows.take(validate)
        truth += unseen.labels
        predicted = fit_each(part.take(train), unseen, settings)
        for guess, labels in zip(guesses, predicted, strict=True):
            guess += labels
    if not truth:
        return settings[0]
    classes = sorted(set(truth))
    scores = [
        f1_score(truth, guess, labels=classes, average="macro", zero_division=0)
        for guess in guesses
    ]
    best = int(np.argmax(scores))
    if within and min(Counter(truth).values()) < FEWEST_OF_CLASS:
        least = scores[best] - within * standard_error(truth, guesses[best], seed=seed)
        best = int(np.argmax(np.asarray(scores) >= least))
    return settings[best]


def _some_rows(training: TrainingSet, seed: int) -> np.ndarray:
    """About ``MOST_ROWS`` row numbers, ascending; small classes keep more of their rows.

    Real rows are drawn separately: the few that validate a rare class would otherwise get lost
    among synthetic ones.
    """
    share = MOST_ROWS / len(training)
    names, rng = np.asarray(training.rows.labels), np.random.default_rng([seed, 19])
    if share >= 1:
        return np.arange(len(names))
    is_real = np.arange(len(names)) < training.real
    kept = []
    for name in np.unique(names):
        for part in (is_real, ~is_real):
            rows = rng.permutation(np.flatnonzero((names == name) & part))
            kept.append(rows[: max(round(share * len(rows)), FEWEST_OF_CLASS)])
    return np.sort(np.concatenate(kept))
