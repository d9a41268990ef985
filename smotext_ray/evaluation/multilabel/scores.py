"""Scores of classifiers that assign any number of labels to each text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

METRICS = ("micro_f1", "macro_f1", "ranking_precision")


@dataclass(frozen=True)
class LabelScores:
    """One classifier on one test set, after one training set.

    Attributes
    ----------
    seed : int
    micro_f1 : float, in [0, 1]
        Over all pairs of a text and a label.
    macro_f1 : float, in [0, 1]
        Mean over the labels that occur in the test texts.
    ranking_precision : float, in [0, 1]
        Label ranking average precision over the texts that have a label: independent of any
        threshold, the share of right labels among those ranked as high as a right one.
    recall : dict of str to float, in [0, 1]
        Recall of each label that occurs in the test texts.
    """

    seed: int
    micro_f1: float
    macro_f1: float
    ranking_precision: float
    recall: dict[str, float]


def measure(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], labels: list[Any], seed: int
) -> LabelScores:
    """Compare scores of labels with the true labels.

    Parameters
    ----------
    truth : ndarray of bool, shape (n, labels)
    scores : ndarray of float64, shape (n, labels)
        Above 0 if the classifier assigns the label.
    labels : list
    seed : int
    """
    from sklearn.metrics import f1_score, label_ranking_average_precision_score, recall_score

    guess = scores > 0
    some, rows = (np.flatnonzero(truth.any(axis=axis)) for axis in (0, 1))
    f1, recall = (
        of(truth[:, some], guess[:, some], average=None, zero_division=0)
        for of in (f1_score, recall_score)
    )
    names = [str(labels[label]) for label in some]
    return LabelScores(
        seed=seed,
        micro_f1=float(f1_score(truth, guess, average="micro", zero_division=0)),
        macro_f1=float(np.mean(f1)),
        ranking_precision=float(label_ranking_average_precision_score(truth[rows], scores[rows])),
        recall=dict(zip(names, map(float, recall), strict=True)),
    )
