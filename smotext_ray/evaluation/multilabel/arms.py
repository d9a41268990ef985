"""Training sets to compare, and the classifiers that are trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from smotext_ray.evaluation.multilabel.data import LabeledRows
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility.features import tf_idf, unit_rows

NOTHING, WEIGHTS, COPIES, SMOTEXT = "nothing", "label_weights", "random_oversampling", "smotext"
NEVER = 1e3  # absolute score of a label that no training row has, or that all have


@dataclass(frozen=True, eq=False)
class Arm:
    """Rows to train on, and whether rows with and without a label have equal total weight."""

    rows: LabeledRows
    balanced: bool = False


def copies(real: LabeledRows, targets: NDArray[np.int64], seed: int) -> LabeledRows:
    """Repeat random rows of each label up to its target, the rarest label first.

    A copy counts for all of its labels, as a synthetic text does.

    Parameters
    ----------
    real : LabeledRows
    targets : ndarray of int64, shape (labels,)
        Final numbers of rows with each label.
    seed : int
    """
    rng = np.random.default_rng([seed, 7])
    counts, added = real.labels.sum(axis=0), [np.empty(0, np.int64)]
    for label in np.argsort(counts, kind="stable"):
        own, missing = np.flatnonzero(real.labels[:, label]), targets[label] - counts[label]
        if missing > 0 and len(own):
            added.append(rng.choice(own, missing))
            counts = counts + real.labels[added[-1]].sum(axis=0)
    return real.joined(real.take(np.concatenate(added)))


@dataclass(frozen=True)
class Linear:
    """A linear classifier per label, with scikit-learn's defaults.

    Attributes
    ----------
    features : callable
        Maps training and test rows to the features of both.
    model : callable
        Creates a scikit-learn model; takes ``class_weight`` and ``max_iter``, and the model has a
        ``decision_function``.
    """

    features: Callable[[LabeledRows, LabeledRows], tuple[Any, Any]]
    model: Callable[[], Any]


def scores_of(arm: Arm, test: LabeledRows, classifier: Linear) -> NDArray[np.float64]:
    """Scores of each label for each test text, above 0 if the classifier assigns the label.

    Returns
    -------
    ndarray of float64, shape (test, labels)
    """
    x, unseen = classifier.features(arm.rows, test)
    labels = arm.rows.labels.shape[1]
    found = np.empty((len(test), labels), np.float64)
    with threadpool_limits(1):
        for label in range(labels):
            y = arm.rows.labels[:, label]
            if y.all() or not y.any():
                found[:, label] = NEVER if y.all() else -NEVER
                continue
            model = classifier.model()
            model.set_params(max_iter=1000, class_weight="balanced" if arm.balanced else None)
            found[:, label] = model.fit(x, y).decision_function(unseen)
    return found


def of_embeddings(train: LabeledRows, test: LabeledRows) -> tuple[Any, Any]:
    """Embeddings of length 1."""
    return unit_rows(_plain(train)), unit_rows(_plain(test))


def of_words(train: LabeledRows, test: LabeledRows) -> tuple[Any, Any]:
    """TF-IDF of words and word pairs."""
    return tf_idf(_plain(train), _plain(test))


def _logistic_regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


def _linear_svm() -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC(random_state=0)


CLASSIFIERS = {
    "embedding": Linear(of_embeddings, _logistic_regression),
    "tfidf": Linear(of_words, _linear_svm),
}


def _plain(rows: LabeledRows) -> Rows:
    return Rows(rows.texts, rows.embeddings, [""] * len(rows))
