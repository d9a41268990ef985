"""Scores of classifiers, and differences between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smotext_ray.evaluation.statistics import Interval, interval

METRICS = ("accuracy", "macro_f1", "balanced_accuracy")


@dataclass(frozen=True)
class Scores:
    """One classifier on one test set, after one training set.

    Attributes
    ----------
    seed : int
        Seed of the training set and of the classifier.
    accuracy, macro_f1, balanced_accuracy : float, in [0, 1]
        Class averages cover the classes in the test rows.
    recall : dict of label to float, in [0, 1]
        Recall of each class in the test rows; 0 if the training rows lack it.
    predicted : tuple of str
        The predicted label of each test row, for a bootstrap over them; may be empty.
    """

    seed: int
    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    recall: dict[str, float]
    predicted: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """The fields except the predictions as a mapping of plain values."""
        return {name: value for name, value in vars(self).items() if name != "predicted"}


@dataclass(frozen=True)
class Summary:
    """An `Interval` for each score of `Scores`."""

    accuracy: Interval
    macro_f1: Interval
    balanced_accuracy: Interval
    recall: dict[str, Interval]

    def as_json(self) -> dict[str, Any]:
        """The intervals as a mapping of plain values."""
        return {
            "accuracy": self.accuracy.as_json(),
            "macro_f1": self.macro_f1.as_json(),
            "balanced_accuracy": self.balanced_accuracy.as_json(),
            "recall": {label: interval.as_json() for label, interval in self.recall.items()},
        }


def measure(labels: Sequence[str], predicted: Sequence[str], seed: int) -> Scores:
    """Compare predicted labels with the true ones.

    Classes are those in ``labels``: any other predicted label counts as an error of the row's class
    and adds no class to the averages.

    Parameters
    ----------
    labels, predicted : sequence of str, length n
    seed : int
        Recorded in the scores.
    """
    from sklearn.metrics import precision_recall_fscore_support

    truth, guess = np.asarray(labels, dtype=str), np.asarray(predicted, dtype=str)
    classes = sorted(set(map(str, labels)))
    _, recall, f1, _ = precision_recall_fscore_support(
        truth, guess, labels=classes, average=None, zero_division=0
    )
    return Scores(
        seed=seed,
        accuracy=float(np.mean(truth == guess)),
        macro_f1=float(np.mean(f1)),
        balanced_accuracy=float(np.mean(recall)),
        recall=dict(zip(classes, map(float, recall), strict=True)),
        predicted=tuple(map(str, predicted)),
    )


def summarize(scores: Sequence[Scores], left_out: float = 0.0) -> Summary:
    """Mean and interval of each score over seeds.

    Parameters
    ----------
    scores : sequence of Scores
        One per seed, on test rows with the same classes.
    left_out : float in [0, 1), default=0.0
        The share of one corpus that each seed leaves out; see `statistics.interval`.
    """
    return _summary(scores, scores, lambda a, _: a, left_out)


def differences(
    scores: Sequence[Scores], others: Sequence[Scores], left_out: float = 0.0
) -> Summary:
    """Mean and paired interval of ``scores - others``.

    Parameters
    ----------
    scores, others : sequence of Scores
        Scores of two arms, with the same seeds in the same order.
    left_out : float in [0, 1), default=0.0
        The share of one corpus that each seed leaves out; see `statistics.interval`.
    """
    return _summary(scores, others, lambda a, b: a - b, left_out)


def ratios(scores: Sequence[Scores], others: Sequence[Scores], left_out: float = 0.0) -> Summary:
    """Mean and paired interval of ``scores / others``, as for TSTR over TRTR.

    Parameters
    ----------
    scores, others : sequence of Scores
        Scores of two arms, with the same seeds in the same order. If the denominator is zero, the
        ratio is NaN.
    left_out : float in [0, 1), default=0.0
        The share of one corpus that each seed leaves out; see `statistics.interval`.
    """
    return _summary(scores, others, lambda a, b: a / b if b else math.nan, left_out)


def _summary(
    scores: Sequence[Scores],
    others: Sequence[Scores],
    compare: Callable[[float, float], float],
    left_out: float,
) -> Summary:
    pairs = list(zip(scores, others, strict=True))
    if any(a.seed != b.seed for a, b in pairs):
        raise ValueError(
            "Scores can only be paired if their seeds are the same, in the same order."
        )
    if len({tuple(s.recall) for pair in pairs for s in pair}) != 1:
        raise ValueError("Only scores on test rows with the same classes can be compared.")

    def over_seeds(of: Callable[[Scores], float]) -> Interval:
        return interval([compare(of(a), of(b)) for a, b in pairs], left_out)

    def recall_of(label: str) -> Callable[[Scores], float]:
        return lambda s: s.recall[label]

    return Summary(
        accuracy=over_seeds(lambda s: s.accuracy),
        macro_f1=over_seeds(lambda s: s.macro_f1),
        balanced_accuracy=over_seeds(lambda s: s.balanced_accuracy),
        recall={label: over_seeds(recall_of(label)) for label in scores[0].recall},
    )
