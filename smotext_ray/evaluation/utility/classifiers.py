"""Utility: classifiers fitted on a training set and scored on test rows.

A training set is `Rows`; `score` fits one classifier on it and scores it on test rows; `summarize`,
`differences` and `ratios` combine the scores of several seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from smotext_ray.errors import UserError
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility.features import tf_idf, unit_rows
from smotext_ray.evaluation.utility.scores import Scores, measure

# (train, test, seed, sample_weight) -> a label for each test row
Classifier = Callable[["Rows", "Rows", int, np.ndarray | None], Sequence[str]]


def score(
    train: Rows,
    test: Rows,
    classifier: str | Classifier,
    seed: int,
    sample_weight: np.ndarray | None = None,
) -> Scores:
    """Fit a classifier on training rows and score it on test rows.

    Parameters
    ----------
    train, test : Rows
    classifier : {"embedding", "tfidf"} or callable
        ``"embedding"`` is `fit_embedding`, ``"tfidf"`` is `fit_tfidf`; `fine_tuning.FineTuned` is
        the callable for a small BERT.
    seed : int
        Random state of the classifier, if it needs one.
    sample_weight : ndarray of shape (len(train),), optional
        Weight of each training row in the loss.

    Returns
    -------
    Scores

    Raises
    ------
    UserError
        If there are no training or no test rows, or for an unknown name.
    ValueError
        If rows lack the texts or embeddings that the classifier reads.

    Examples
    --------
    >>> rows = Rows(["corn up", "ship in"], np.float32([[1, 0], [0, 1]]), ["grain", "ship"])
    >>> score(rows, rows, "embedding", seed=0).recall
    {'grain': 1.0, 'ship': 1.0}
    """
    fit_predict = named(classifier) if isinstance(classifier, str) else classifier
    if not len(train) or not len(test):
        raise UserError(f"The {'test' if len(train) else 'training'} set has no rows.")
    if len(set(train.labels)) == 1:  # what scikit-learn refuses to fit
        return measure(test.labels, train.labels[:1] * len(test), seed)
    return measure(test.labels, fit_predict(train, test, seed, sample_weight), seed)


def fit_embedding(
    train: Rows, test: Rows, seed: int, sample_weight: np.ndarray | None = None
) -> list[str]:
    """Logistic regression, C=10, on embeddings scaled to length 1; predicts the test rows.

    Points without a text are not rescaled, see `features.unit_rows`.
    """
    model = embedding_model(train, seed, sample_weight)
    return [str(label) for label in model.predict(unit_rows(test))]


def embedding_model(train: Rows, seed: int, sample_weight: np.ndarray | None = None) -> Any:
    """The fitted scikit-learn model of `fit_embedding`, for embeddings scaled to length 1."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10, max_iter=2000, random_state=seed)
    return model.fit(unit_rows(train), train.labels, sample_weight)


def fit_tfidf(
    train: Rows, test: Rows, seed: int, sample_weight: np.ndarray | None = None
) -> list[str]:
    """A linear SVM on the TF-IDF of words and word pairs; predicts the test rows."""
    from sklearn.svm import LinearSVC

    x, unseen = tf_idf(train, test)
    model = LinearSVC(random_state=seed).fit(x, train.labels, sample_weight)
    return [str(label) for label in model.predict(unseen)]


CLASSIFIERS: dict[str, Classifier] = {"embedding": fit_embedding, "tfidf": fit_tfidf}


def named(classifier: str) -> Classifier:
    """The classifier of that name in ``CLASSIFIERS``; UserError for an unknown one."""
    if classifier not in CLASSIFIERS:
        known = ", ".join(CLASSIFIERS)
        raise UserError(f"Unknown classifier {classifier!r}; choose from {known}.")
    return CLASSIFIERS[classifier]
