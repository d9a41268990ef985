"""SMOTE's variants: which texts of a class are sources of points, and how likely each is.

SMOTE takes every row of a class alike. A variant looks at the whole corpus first, and gives
each text of a class a weight; KMeans-SMOTE also a cluster in which its neighbours are looked
for, SVM-SMOTE the way that a point may go. The rest is SMOTE: a source, a neighbour, a point.

All is imbalanced-learn's arithmetic, but for what a text is: equal texts of a class count
once, and none is a neighbour of itself (`smotext_ray.plan.neighbors.other_texts`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smotext_ray.config.choices import Metric, Variant
from smotext_ray.errors import UserError
from smotext_ray.plan.neighbors import Nearest, other_texts

# Fitted to all classes at once, in one task.
NEEDS_WHOLE_CORPUS: tuple[Variant, ...] = ("kmeans", "svm")
MOST_SVM_ROWS = 20_000  # a support vector machine takes time with the square of them: minutes
OUT_STEP = 0.5  # of the way to the neighbour, on the other side of the source


@dataclass(frozen=True)
class Sources:
    """How the points of a class begin, a number for each of its texts, or of some of them.

    Attributes
    ----------
    weight : ndarray of float64, shape (t,)
        How likely a row with the text is as a source, in any unit. Not negative; all 0
        where the variant finds no source.
    cluster : ndarray of int32, shape (t,), or None
        Neighbours are of the same cluster; None where they are of the whole class.
    step_scale : ndarray of float32, shape (t,), or None
        What lam is multiplied with: below 0 a point lies beyond its source, seen from the
        neighbour. None where it is 1.
    """

    weight: NDArray[np.float64]
    cluster: NDArray[np.int32] | None = None
    step_scale: NDArray[np.float32] | None = None


def check_rows(variant: Variant, rows: int) -> None:
    """Refuse a corpus that is too large for the variant.

    Raises
    ------
    UserError
    """
    if variant == "svm" and rows > MOST_SVM_ROWS:
        raise UserError(
            f"plan.variant=svm fits a support vector machine to all rows, at most {MOST_SVM_ROWS}; "
            f"there are {rows}: use plan.variant=borderline, which looks for the same border."
        )


def others_among_nearest(
    embeddings: NDArray[np.float32],
    code: NDArray[np.int64],
    texts: NDArray[np.int64],
    k: int,
    metric: Metric,
    nearest: Nearest | None = None,
) -> tuple[NDArray[np.int64], int]:
    """How many of the nearest texts are of other classes.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n, d)
        Of the texts of all classes.
    code : ndarray of int64, shape (n,)
        Their classes.
    texts : ndarray of int64, shape (t,)
        Rows of ``embeddings`` to tell it of.
    k : int
    metric : {"cosine", "euclidean"}
    nearest : callable, optional
        See `smotext_ray.plan.neighbors.other_texts`.

    Returns
    -------
    others : ndarray of int64, shape (t,)
    k : int
        Neighbours that were looked at: fewer in a corpus that has no more.
    """
    near = other_texts(embeddings[texts], texts, embeddings, k, metric, nearest)
    others = (code[near] != code[texts][:, None]).sum(axis=1)
    return others.astype(np.int64), near.shape[1]


def is_in_danger(others: NDArray[np.int64], m: int) -> NDArray[np.bool_]:
    """Texts at the border: at least half of their ``m`` nearest are of other classes, not all.

    Examples
    --------
    >>> is_in_danger(np.array([0, 1, 2, 3, 4]), 4).tolist()
    [False, False, True, True, False]
    """
    return np.asarray((2 * others >= m) & (others < m))


def borderline_sources(others: NDArray[np.int64], m: int) -> Sources:
    """Borderline-SMOTE, the first kind [1]_: the texts in danger, each alike.

    Parameters
    ----------
    others : ndarray of int64, shape (t,)
        As `others_among_nearest` gives them with ``m``.
    m : int

    References
    ----------
    .. [1] Han, Wang, Mao: Borderline-SMOTE: a new over-sampling method in imbalanced data
       sets learning. ICIC 2005.
    """
    return Sources(is_in_danger(others, m).astype(np.float64))


def adasyn_sources(others: NDArray[np.int64], k: int) -> Sources:
    """ADASYN [1]_: each text by the share of other classes among its ``k`` nearest.

    ADASYN makes of each text its share of the points, rounded; here that is the expected
    number, and a class gets exactly the points that it is to get.

    References
    ----------
    .. [1] He, Bai, Garcia, Li: ADASYN: adaptive synthetic sampling approach for imbalanced
       learning. IJCNN 2008.
    """
    return Sources(others / max(k, 1))


def fit_clusters(embeddings: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.int32]:
    """The cluster of each text, by k-means in mini-batches over all classes; Euclidean.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n, d)
    clusters : int
        No more than there are texts.
    seed : int

    Returns
    -------
    ndarray of int32, shape (n,)
        Of equal machines the same; another processor may round otherwise.
    """
    from sklearn.cluster import MiniBatchKMeans

    fitted = MiniBatchKMeans(min(clusters, len(embeddings)), random_state=seed % 2**32)
    return np.asarray(fitted.fit_predict(embeddings), np.int32)


def kmeans_sources(
    embeddings: NDArray[np.float32],
    copies: NDArray[np.int64],
    cluster: NDArray[np.int32],
    own: slice,
    share: float,
    k: int,
) -> Sources:
    """KMeans-SMOTE [1]_: clusters that hold much of the class, the sparse ones more often.

    A cluster counts where at least half of ``share`` of its texts are of the class, and it
    has a text of the class with ``k`` neighbours. Its weight is the mean distance between
    its texts of the class, to a power that rises with their number, over that number; its
    rows share it alike.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n, d)
        Of the texts of all classes.
    copies : ndarray of int64, shape (n,)
        Rows that have each text.
    cluster : ndarray of int32, shape (n,)
    own : slice
        The texts of the class.
    share : float
        Of the class in the points of all classes.
    k : int
        Fewer where the class has no more other texts.

    References
    ----------
    .. [1] Douzas, Bacao, Last: Improving imbalanced learning through a heuristic
       oversampling method based on k-means and SMOTE. Information Sciences 465, 2018.
    """
    x, of_text, rows = embeddings[own], cluster[own], copies[own]
    k = min(k, len(x) - 1)
    weight = np.zeros(len(x))
    # One cluster of all is always taken.
    least = share / 2 if np.ptp(cluster) else -math.inf
    for number in np.unique(of_text):
        here = of_text == number
        texts = int(here.sum())
        if texts > k >= 1 and texts / (cluster == number).sum() >= least:
            weight[here] = _sparsity(x[here]) / rows[here].sum()
    return Sources(weight, cluster=of_text)


def _sparsity(x: NDArray[np.float32]) -> float:
    from sklearn.metrics import pairwise_distances_chunked

    sums = pairwise_distances_chunked(x, reduce_func=lambda part, start: part.sum(axis=1))
    mean = sum(float(part.sum(dtype=np.float64)) for part in sums) / (len(x) * (len(x) - 1))
    return float(mean ** (math.log(len(x), 1.6) ** 1.8 * 0.16) / len(x))


def support_texts(embeddings: NDArray[np.float32], code: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The support vectors among the texts of all classes; shape (n,).

    Of a support vector machine with scikit-learn's defaults, an RBF kernel.
    """
    from sklearn.svm import SVC

    is_support = np.zeros(len(embeddings), bool)
    is_support[SVC(gamma="scale").fit(embeddings, code).support_] = True
    return is_support


def svm_sources(is_support: NDArray[np.bool_], others: NDArray[np.int64], m: int) -> Sources:
    """SVM-SMOTE [1]_: support vectors; points beyond those that are safe from other classes.

    One whose ``m`` nearest are all of other classes is noise. Those in danger are
    interpolated as in SMOTE, safe ones extrapolated, up to half the way to a neighbour on
    the other side. Both kinds share the points by halves, which is the mean of the fraction
    that imbalanced-learn draws once a class; where there is one kind only, it has all.

    Parameters
    ----------
    is_support : ndarray of bool, shape (t,)
        Of the class.
    others : ndarray of int64, shape (t,)
        As `others_among_nearest` gives them with ``m``.
    m : int

    References
    ----------
    .. [1] Nguyen, Cooper, Kamei: Borderline over-sampling for imbalanced data
       classification. IJKESDP 3, 2011.
    """
    danger = is_support & is_in_danger(others, m)
    safe = is_support & (others < m) & ~danger
    weight = np.zeros(len(others))
    for kind in (danger, safe):
        weight[kind] = 1 / max(kind.sum(), 1)
    return Sources(weight, step_scale=np.where(safe, -OUT_STEP, 1).astype(np.float32))
