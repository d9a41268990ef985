"""Do the synthetic texts belong to the classes they are labeled with?

A classifier that has seen a text's parents cannot judge it fairly. So the real texts are split into
folds, and each model is fitted without two of them: a synthetic text is judged by the models that
saw neither of its parents, a real text by those that did not see it. Both kinds of model see the
same amount of data, which makes the accuracy on real texts a ceiling. A text with more than
two parents is judged only if they are in two folds, as for half of the texts with three.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from smotext_ray.evaluation.checks import TooFewTexts, class_codes, same_width

FOLDS, HELD_OUT = 5, 2
# Three rows of a class are in three folds, so one remains when two folds are held out.
FEWEST = 3
C = 10.0
MAX_ITER = 1000
NO_PARENT = -1


@dataclass(frozen=True)
class ClassAgreement:
    """Agreement for one class.

    Attributes
    ----------
    real, synthetic : int
        Number of texts judged.
    accuracy : float, in [0, 1]
        Out-of-fold accuracy on the real texts.
    agreement : float in [0, 1], or None
        Agreement on the synthetic texts; None if there are none.
    """

    real: int
    synthetic: int
    accuracy: float
    agreement: float | None


@dataclass(frozen=True)
class LabelAgreement:
    """How often classifiers fitted on real texts agree with the labels of synthetic texts.

    Attributes
    ----------
    synthetic : int
        Number of texts judged.
    agreement : float, in [0, 1]
        Mean over the synthetic texts.
    ceiling : float, in [0, 1]
        The same classifiers' out-of-fold accuracy on real texts, in the class mix of the synthetic
        ones: compare agreement with this.
    accuracy : float, in [0, 1]
        Out-of-fold accuracy on the real texts in their own class mix.
    label_issues, real_label_issues : float, in [0, 1]
        Share of synthetic and of real texts whose label confident learning flags.
    classes : dict
        Label to ClassAgreement.
    left_out : tuple
        Labels with fewer than three real texts; their texts are excluded.
    """

    synthetic: int
    agreement: float
    ceiling: float
    accuracy: float
    label_issues: float
    real_label_issues: float
    classes: dict[Any, ClassAgreement]
    left_out: tuple[Any, ...]

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values; classes become a list."""
        classes = [{"label": label, **asdict(found)} for label, found in self.classes.items()]
        return vars(self) | {"classes": classes, "left_out": list(self.left_out)}


def label_agreement(
    real: np.ndarray,
    real_labels: Sequence[Any] | np.ndarray,
    synthetic: np.ndarray,
    synthetic_labels: Sequence[Any] | np.ndarray,
    parents: np.ndarray | None = None,
    seed: int = 0,
) -> LabelAgreement:
    """Judge the labels of synthetic texts with classifiers that have not seen their parents.

    Logistic regression on embeddings with balanced class weights, because the class mix of
    synthetic texts is arbitrary. Label issues come from confident learning [1]_ on all texts
    together, so that the real ones also set the thresholds.

    Parameters
    ----------
    real : ndarray of shape (n, d)
    real_labels : sequence of length n
    synthetic : ndarray of shape (m, d)
    synthetic_labels : sequence of length m
    parents : ndarray of int, shape (m, p), optional
        Rows of ``real``; -1 means no parent. If omitted, every model judges every synthetic text,
        which is right for texts generated without parents.
    seed : int
        Seed for assigning the folds.

    Raises
    ------
    ValueError
        If shapes do not match, a label is unknown, or a parent is out of range.
    TooFewTexts
        If fewer than two classes have three real texts, or no synthetic text of those classes can
        be judged.

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang: Confident learning: estimating uncertainty in dataset
       labels. JAIR 70, 2021; computed with cleanlab.
    """
    real, synthetic = same_width(real=real, synthetic=synthetic)
    if parents is None:
        parents = np.full((len(synthetic), 1), NO_PARENT)
    _check(real, real_labels, synthetic, synthetic_labels, parents)
    names, codes, synthetic_codes = class_codes(real_labels, synthetic_labels)
    own_fold = _one_hot(_folds(codes, seed))
    # One-hot fold of each parent; index -1 (no parent) picks the all-false row at the end.
    folds_of_parents = np.vstack([own_fold, np.zeros((1, FOLDS), bool)])[parents].any(1)
    large = np.bincount(codes) >= FEWEST
    kept = large[codes]
    judged = large[synthetic_codes] & (folds_of_parents.sum(1) <= HELD_OUT)
    if large.sum() < 2 or not judged.any():
        raise TooFewTexts("Two classes need three real texts each, and synthetic texts.")

    votes = _judge(
        real[kept],
        codes[kept],
        own_fold[kept],
        np.concatenate([real[kept], synthetic[judged]]),
        np.concatenate([codes[kept], synthetic_codes[judged]]),
        np.concatenate([own_fold[kept], folds_of_parents[judged]]),
    )
    return _summary(names, large, codes[kept], synthetic_codes[judged], *votes)


def _check(
    real: np.ndarray,
    real_labels: Sequence[Any] | np.ndarray,
    synthetic: np.ndarray,
    synthetic_labels: Sequence[Any] | np.ndarray,
    parents: np.ndarray,
) -> None:
    if len(real) != len(real_labels) or len(synthetic) != len(synthetic_labels):
        raise ValueError("There must be one label for each embedding.")
    if parents.ndim != 2 or len(parents) != len(synthetic):
        raise ValueError(f"parents must have shape ({len(synthetic)}, p), not {parents.shape}.")
    if ((parents < NO_PARENT) | (parents >= len(real))).any():
        raise ValueError(f"parents must be rows of the {len(real)} real texts, or -1 for none.")


def _folds(codes: np.ndarray, seed: int) -> np.ndarray:
    """A stratified fold for each row: each class is spread evenly over the folds."""
    shuffled = np.random.default_rng(seed).permutation(len(codes))
    by_class = shuffled[np.argsort(codes[shuffled], kind="stable")]
    folds = np.empty(len(codes), np.int64)
    folds[by_class] = np.arange(len(codes)) % FOLDS
    return folds


def _one_hot(folds: np.ndarray) -> np.ndarray:
    return np.asarray(folds[:, None] == np.arange(FOLDS))


def _judge(
    real: np.ndarray,
    real_codes: np.ndarray,
    real_folds: np.ndarray,
    x: np.ndarray,
    codes: np.ndarray,
    folds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Judge the rows of ``x`` with the models.

    ``folds`` has shape (rows, FOLDS); true marks the folds that a model judging the row must not
    have seen.

    Returns
    -------
    share : ndarray of shape (rows,)
        Share of the row's models that predict its label.
    probabilities : ndarray of shape (rows, classes kept)
        Mean over the row's models.
    """
    kept = np.unique(real_codes)
    right, judges = np.zeros(len(x)), np.zeros(len(x))
    probabilities = np.zeros((len(x), len(kept)))
    for out in itertools.combinations(range(FOLDS), HELD_OUT):
        seen = ~real_folds[:, list(out)].any(1)
        model = LogisticRegression(C=C, class_weight="balanced", max_iter=MAX_ITER)
        with threadpool_limits(1):  # more threads make fits of this size many times slower
            model.fit(real[seen], real_codes[seen])
        rows = np.flatnonzero(~np.delete(folds, out, axis=1).any(1))
        if not len(rows):
            continue
        given = model.predict_proba(x[rows])
        right[rows] += kept[given.argmax(1)] == codes[rows]
        judges[rows] += 1
        probabilities[rows] += given
    return right / judges, probabilities / judges[:, None]


def _summary(
    names: list[Any],
    large: np.ndarray,
    codes: np.ndarray,
    synthetic_codes: np.ndarray,
    share: np.ndarray,
    probabilities: np.ndarray,
) -> LabelAgreement:
    n = len(codes)
    real, synthetic = share[:n], share[n:]
    classes = {}
    for c in np.flatnonzero(large):
        found = synthetic[synthetic_codes == c]
        classes[c] = ClassAgreement(
            real=int((codes == c).sum()),
            synthetic=len(found),
            accuracy=float(real[codes == c].mean()),
            agreement=float(found.mean()) if len(found) else None,
        )
    issues = _label_issues(np.concatenate([codes, synthetic_codes]), probabilities)
    return LabelAgreement(
        synthetic=len(synthetic),
        agreement=float(synthetic.mean()),
        ceiling=float(np.mean([classes[c].accuracy for c in synthetic_codes])),
        accuracy=float(real.mean()),
        label_issues=float(issues[n:].mean()),
        real_label_issues=float(issues[:n].mean()),
        classes={names[c]: found for c, found in classes.items()},
        left_out=tuple(names[c] for c in np.flatnonzero(~large)),
    )


def _label_issues(codes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Boolean mask of rows whose label confident learning flags."""
    from cleanlab.filter import find_label_issues  # slow to import

    _, dense = np.unique(codes, return_inverse=True)
    found = find_label_issues(dense, probabilities, filter_by="confident_learning", n_jobs=1)
    return np.asarray(found)
