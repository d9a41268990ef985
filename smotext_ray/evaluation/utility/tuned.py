"""Linear classifiers whose settings are chosen on the training rows, and simpler ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Generic, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility.features import Words, tf_idf, unit_rows
from smotext_ray.evaluation.utility.training_sets import TrainingSet
from smotext_ray.evaluation.utility.tuning import FitEach, choose

REFERENCE_ROWS = 1000  # for which `Linear.c` equals scikit-learn's C
Setting = TypeVar("Setting")


@dataclass(frozen=True)
class Linear:
    """Settings of a linear model.

    Attributes
    ----------
    c : float
        Inverse strength of the L2 penalty against the MEAN loss, so that an arm with more rows is
        not regularized less: scikit-learn's C is ``c * REFERENCE_ROWS / n`` for n rows, as its
        loss is a sum.
    balanced : bool
        Whether all classes have the same total weight; rows keep their weights within a class.
    words : {"pairs", "words", "content words"}
        For TF-IDF: words and word pairs, words, words without English stop words.
    """

    c: float
    balanced: bool
    words: Words = "pairs"


@dataclass(frozen=True)
class Tuned(Generic[Setting]):
    """A classifier whose settings are chosen by `tuning.choose` for each training set.

    Attributes
    ----------
    settings : tuple
        To choose from.
    fit_each : callable
        Fits and predicts under each of some settings.
    within : float, default=1
        Number of standard errors by which an earlier setting may be worse than the best one and
        still be chosen; only if a class has few rows: see `tuning.choose`.
    """

    settings: tuple[Setting, ...]
    fit_each: FitEach[Setting]
    within: float = 1.0

    def __call__(self, training: TrainingSet, test: Rows, seed: int) -> list[str]:
        """Choose, fit on all training rows, and predict the test rows."""
        with threadpool_limits(1):  # more threads make fits of this size many times slower
            return list(self.fit_each(training, test, [self._chosen(training, seed)])[0])

    def settled(self, training: TrainingSet, seed: int) -> Tuned[Setting]:
        """The classifier with only the setting chosen on this training set."""
        with threadpool_limits(1):
            return replace(self, settings=(self._chosen(training, seed),))

    def _chosen(self, training: TrainingSet, seed: int) -> Setting:
        return choose(training, self.settings, self.fit_each, seed, within=self.within)


def fit_embeddings(
    training: TrainingSet, unseen: Rows, settings: Sequence[Linear]
) -> list[list[str]]:
    """Logistic regression on embeddings scaled to length 1.

    Points without a text are not rescaled: see `features.unit_rows`.
    """
    from sklearn.linear_model import LogisticRegression

    x, unit = unit_rows(training.rows), unit_rows(unseen)
    return [
        _fit(LogisticRegression(max_iter=2000), training, x, unit, setting) for setting in settings
    ]


def fit_words(training: TrainingSet, unseen: Rows, settings: Sequence[Linear]) -> list[list[str]]:
    """Linear SVM on TF-IDF of the training rows' words."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    seen = {words: tf_idf(training.rows, unseen, words) for words in _distinct(settings)}
    with warnings.catch_warnings():
        # With the weakest penalty it may stop early, when it already separates all training rows.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [
            _fit(LinearSVC(random_state=0), training, *seen[setting.words], setting)
            for setting in settings
        ]


def fit_centroids_of_words(
    training: TrainingSet, unseen: Rows, settings: Sequence[Words]
) -> list[list[str]]:
    """Nearest class mean by cosine of TF-IDF (Rocchio)."""
    return [
        _nearest_centroid(training.rows.labels, *tf_idf(training.rows, unseen, words))
        for words in settings
    ]


def fit_centroids_of_embeddings(
    training: TrainingSet, unseen: Rows, settings: Sequence[None]
) -> list[list[str]]:
    """Nearest class mean by cosine of embeddings."""
    means = unit_rows(training.rows), unit_rows(unseen)
    return [_nearest_centroid(training.rows.labels, *means) for _ in settings]


def fit_prior_corrected(
    training: TrainingSet, unseen: Rows, settings: Sequence[Linear]
) -> list[list[str]]:
    """`fit_embeddings` with the log of each class's share of rows subtracted from its logit [1]_.

    References
    ----------
    .. [1] Menon and others: Long-tail learning via logit adjustment. ICLR 2021.
    """
    x, unit = unit_rows(training.rows), unit_rows(unseen)
    return [_prior_corrected(training, x, unit, setting) for setting in settings]


def fit_prior_corrected_words(
    training: TrainingSet, unseen: Rows, settings: Sequence[Linear]
) -> list[list[str]]:
    """`fit_prior_corrected` on TF-IDF."""
    seen = {words: tf_idf(training.rows, unseen, words) for words in _distinct(settings)}
    return [_prior_corrected(training, *seen[setting.words], setting) for setting in settings]


def _prior_corrected(training: TrainingSet, x: Any, unseen: Any, setting: Linear) -> list[str]:
    from sklearn.linear_model import LogisticRegression

    if len(set(training.rows.labels)) == 1:  # scikit-learn cannot fit a single class
        return training.rows.labels[:1] * unseen.shape[0]
    model = LogisticRegression(max_iter=2000, C=_sum_c(setting, training))
    names, counts = np.unique(training.rows.labels, return_counts=True)
    model.fit(x, training.rows.labels)
    probability = np.maximum(model.predict_proba(unseen), np.finfo(np.float32).tiny)
    logits = np.log(probability) - np.log(counts / counts.sum())
    return [str(name) for name in names[logits.argmax(axis=1)]]


# From strong to weak, because `choose` takes the first of nearly equal ones.
_C = (0.3, 1.0, 3.0, 10.0, 100.0, 1000.0)
_WORDS: tuple[Words, ...] = ("pairs", "words", "content words")
EMBEDDINGS = tuple(Linear(c, balanced) for c, balanced in product(_C, (False, True)))
TF_IDF = tuple(
    Linear(c, balanced, words)
    for c, balanced, words in product((0.01, 0.1, 1.0), (False, True), _WORDS)
)

TUNED: dict[str, Tuned[Any]] = {
    "embedding": Tuned(EMBEDDINGS, fit_embeddings),
    "tfidf": Tuned(TF_IDF, fit_words),
}
# On real rows alone, with the same features: a baseline that costs nothing.
CLASS_WEIGHTED: dict[str, Tuned[Any]] = {
    "embedding": Tuned(tuple(s for s in EMBEDDINGS if s.balanced), fit_embeddings),
    "tfidf": Tuned(tuple(s for s in TF_IDF if s.balanced), fit_words),
}
CENTROIDS: dict[str, Tuned[Any]] = {
    "embedding": Tuned((None,), fit_centroids_of_embeddings),
    "tfidf": Tuned(_WORDS, fit_centroids_of_words, within=0.0),  # no choice of words is simpler
}
PRIOR_CORRECTED: dict[str, Tuned[Any]] = {
    "embedding": Tuned(tuple(s for s in EMBEDDINGS if not s.balanced), fit_prior_corrected),
    "tfidf": Tuned(
        tuple(Linear(c, False, "words") for c in (1.0, 10.0, 100.0)),
        fit_prior_corrected_words,
    ),
}


def _fit(model: Any, training: TrainingSet, x: Any, unseen: Any, setting: Linear) -> list[str]:
    labels = training.rows.labels
    if len(set(labels)) == 1:  # scikit-learn cannot fit a single class
        return [labels[0]] * unseen.shape[0]
    weight = _weights(training, setting.balanced)
    model.set_params(C=_sum_c(setting, training))
    return [str(label) for label in model.fit(x, labels, weight).predict(unseen)]


def _sum_c(setting: Linear, training: TrainingSet) -> float:
    return setting.c * REFERENCE_ROWS / len(training)


def _weights(training: TrainingSet, balanced: bool) -> np.ndarray:
    """Weights of mean 1, so that the penalty depends only on the number of rows."""
    weight = np.ones(len(training)) if training.weight is None else training.weight
    if balanced:
        _, codes = np.unique(np.asarray(training.rows.labels, dtype=str), return_inverse=True)
        weight = weight / np.bincount(codes, weight)[codes]
    return np.asarray(weight / weight.mean())


def _nearest_centroid(labels: Sequence[str], x: Any, unseen: Any) -> list[str]:
    names, codes = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    means = np.stack([np.asarray(x[codes == k].mean(axis=0)).ravel() for k in range(len(names))])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return [str(name) for name in names[np.asarray(unseen @ means.T).argmax(axis=1)]]


def _distinct(settings: Sequence[Linear]) -> list[Words]:
    return list(dict.fromkeys(setting.words for setting in settings))
