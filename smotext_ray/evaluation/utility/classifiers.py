"""Utility: classifiers fitted on a training set and scored on test rows.

`score` fits one classifier on a `TrainingSet` and scores it on test rows; `scores.summarize`,
`differences` and `ratios` combine the scores of several seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from smotext_ray.errors import UserError
from smotext_ray.evaluation.rows import Rows, encoded
from smotext_ray.evaluation.utility.contrastive import Contrastive
from smotext_ray.evaluation.utility.features import unit_rows
from smotext_ray.evaluation.utility.fine_tuning import FineTuned
from smotext_ray.evaluation.utility.scores import Scores, measure
from smotext_ray.evaluation.utility.training_sets import TrainingSet
from smotext_ray.evaluation.utility.tuned import CENTROIDS, PRIOR_CORRECTED, TUNED
from smotext_ray.gate.reference import class_reference

# (training set, test rows, seed) -> a label for each test row
Classifier = Callable[[TrainingSet, Rows, int], Sequence[str]]

CLASSIFIERS: dict[str, Classifier] = dict(TUNED)


def fit_gate(training: TrainingSet, test: Rows, seed: int) -> list[str]:
    """The class that the gate would choose, by linear discriminant analysis of the embeddings."""
    x = unit_rows(training.rows).astype(np.float64)
    names, codes, counts = np.unique(
        np.asarray(training.rows.labels, dtype=str), return_inverse=True, return_counts=True
    )
    sums = np.stack([x[codes == k].sum(axis=0) for k in range(len(names))])
    reference = class_reference(counts, sums, x.T @ x, np.empty(0, np.int64))
    return [str(name) for name in names[reference.nearest_class(unit_rows(test))]]


# Baselines trained on real rows alone, by classifier and arm; see `baselines`.
OF_REAL_ROWS: dict[str, dict[str, Classifier]] = {
    "embedding": {
        "nearest_centroid": CENTROIDS["embedding"],
        "prior_corrected": PRIOR_CORRECTED["embedding"],
        "gate_alone": fit_gate,
    },
    "tfidf": {
        "nearest_centroid": CENTROIDS["tfidf"],
        "prior_corrected": PRIOR_CORRECTED["tfidf"],
    },
}

# On real and synthetic rows, to show what synthetic texts add to such baselines.
NEAREST_OF_BOTH, CONTRASTIVE_OF_BOTH = "nearest_centroid_of_both", "contrastive_of_both"


def baselines(name: str, classifier: Classifier) -> dict[str, Classifier]:
    """Classifiers on real rows alone as baselines for a classifier, keyed by the name of their arm.

    Baselines of a fine-tuned classifier take the same number of steps.
    """
    if isinstance(classifier, FineTuned):
        return {
            "prior_corrected": replace(classifier, correct_priors=True),
            "contrastive": _on_pairs(classifier),
        }
    return OF_REAL_ROWS.get(name, {})


def baselines_of_both(name: str, classifier: Classifier) -> dict[str, Classifier]:
    """Baselines that may gain from synthetic rows too, keyed by the name of their arm."""
    if isinstance(classifier, FineTuned):
        return {CONTRASTIVE_OF_BOTH: _on_pairs(classifier)}
    return {NEAREST_OF_BOTH: CENTROIDS[name]} if name in CENTROIDS else {}


def _on_pairs(classifier: FineTuned) -> Contrastive:
    return Contrastive(
        classifier.model,
        classifier.steps,
        max_length=classifier.max_length,
        device=classifier.device,
    )


def score(training: TrainingSet, test: Rows, classifier: str | Classifier, seed: int) -> Scores:
    """Fit a classifier on training rows and score it on test rows.

    Parameters
    ----------
    training : TrainingSet
    test : Rows
    classifier : {"embedding", "tfidf"} or callable
        A name in ``CLASSIFIERS``, or for example `fine_tuning.FineTuned`.
    seed : int
        Random state of the classifier, if it needs one.

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
    >>> from smotext_ray.evaluation.utility.training_sets import of_real
    >>> rows = Rows(["corn up", "ship in"], np.float32([[1, 0], [0, 1]]), ["grain", "ship"])
    >>> score(of_real(rows), rows, "embedding", seed=0).recall
    {'grain': 1.0, 'ship': 1.0}
    """
    fit_predict = named(classifier) if isinstance(classifier, str) else classifier
    if not len(training) or not len(test):
        raise UserError(f"The {'test' if len(training) else 'training'} set has no rows.")
    labels = training.rows.labels
    if len(set(labels)) == 1:  # scikit-learn cannot fit a single class
        return measure(test.labels, labels[:1] * len(test), seed)
    return measure(test.labels, fit_predict(training, test, seed), seed)


def with_embeddings(
    training: TrainingSet, encode: Callable[[list[str]], np.ndarray]
) -> TrainingSet:
    """The training set with all embeddings filled in; see `rows.encoded`."""
    return replace(training, rows=encoded(training.rows, encode))


def named(classifier: str) -> Classifier:
    """The classifier of that name in ``CLASSIFIERS``; UserError for an unknown one."""
    if classifier not in CLASSIFIERS:
        known = ", ".join(CLASSIFIERS)
        raise UserError(f"Unknown classifier {classifier!r}; choose from {known}.")
    return CLASSIFIERS[classifier]
