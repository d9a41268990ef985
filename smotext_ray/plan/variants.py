"""SMOTE variants: which texts of a class are sources of points, and how likely each is.

SMOTE treats all rows of a class the same. A variant first looks at the whole corpus, and gives each
text of a class a weight; KMeans-SMOTE also gives it a cluster to which its neighbors are
restricted, SVM-SMOTE a direction and step size. The rest is SMOTE: a source, a neighbor, a point.

The arithmetic is imbalanced-learn's, except that equal texts of a class count once, and no text is
its own neighbor (`smotext_ray.plan.neighbors.other_texts`).
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
MOST_SVM_ROWS = 20_000  # a support vector machine takes quadratic time: here minutes
OUT_STEP = 0.5  # share of the distance to the neighbor, on the other side of the source


@dataclass(frozen=True)
class Sources:
    """Sampling weights of a class's texts as sources, for all or some of its texts.

    Attributes
    ----------
    weight : ndarray of float64, shape (t,)
        Unnormalized probability that a row with the text is a source. Non-negative; all 0 if the
        variant finds no source.
    cluster : ndarray of int32, shape (t,), or None
        Neighbors must be in the same cluster; None if they may be anywhere in the class.
    step_scale : ndarray of float32, shape (t,), or None
        Factor applied to lam: if negative, a point extrapolates beyond its source, away from the
        neighbor. None means 1.
    """

    weight: NDArray[np.float64]
    cluster: NDArray[np.int32] | None = None
    step_scale: NDArray[np.float32] | None = None


def check_rows(variant: Variant, rows: int) -> None:
    """Reject a corpus that is too large for the variant.

    Raises
    ------
    UserError
    """
    if variant == "svm" and rows > MOST_SVM_ROWS:
        raise UserError(
            "plan.variant=svm fits a support vector machine to at most "
            f"{MOST_SVM_ROWS} rows, but the "
            f"corpus has {rows}: use plan.variant=borderline, which targets the same boundary."
        )


def others_among_nearest(
    embeddings: NDArray[np.float32],
    code: NDArray[np.int64],
    texts: NDArray[np.int64],
    k: int,
    metric: Metric,
    nearest: Nearest | None = None,
) -> tuple[NDArray[np.int64], int]:
    """Count how many of the nearest texts are of other classes.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n, d)
        Embeddings of the texts of all classes.
    code : ndarray of int64, shape (n,)
        Their class indices.
    texts : ndarray of int64, shape (t,)
        Rows of ``embeddings`` to count for.
    k : int
    metric : {"cosine", "euclidean"}
    nearest : callable, optional
        See `smotext_ray.plan.neighbors.other_texts`.

    Returns
    -------
    others : ndarray of int64, shape (t,)
    k : int
        Number of neighbors considered: fewer if the corpus has no more.
    """
    near = other_texts(embeddings[texts], texts, embeddings, k, metric, nearest)
    others = (code[near] != code[texts][:, None]).sum(axis=1)
    return others.astype(np.int64), near.shape[1]


def is_in_danger(others: NDArray[np.int64], m: int) -> NDArray[np.bool_]:
    """Texts at the boundary: at least half, but not all, of their ``m`` nearest are of other
    classes.

    Examples
    --------
    >>> is_in_danger(np.array([0, 1, 2, 3, 4]), 4).tolist()
    [False, False, True, True, False]
    """
    return np.asarray((2 * others >= m) & (others < m))


def borderline_sources(others: NDArray[np.int64], m: int) -> Sources:
    """Borderline-SMOTE-1 [1]_: the texts in danger, equally weighted.

    Parameters
    ----------
    others : ndarray of int64, shape (t,)
        From `others_among_nearest` with ``m``.
    m : int

    References
    ----------
    .. [1] Han, Wang, Mao: Borderline-SMOTE: a new over-sampling method in imbalanced data
       sets learning. ICIC 2005.
    """
    return Sources(is_in_danger(others, m).astype(np.float64))


def adasyn_sources(others: NDArray[np.int64], k: int) -> Sources:
    """ADASYN [1]_: each text weighted by the share of other classes among its ``k`` nearest.

    ADASYN gives each text its rounded share of the points; here that is the expected number, and a
    class gets exactly the requested number of points.

    References
    ----------
    .. [1] He, Bai, Garcia, Li: ADASYN: adaptive synthetic sampling approach for imbalanced
       learning. IJCNN 2008.
    """
    return Sources(others / max(k, 1))


def fit_clusters(embeddings: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.int32]:
    """The cluster of each text, by Euclidean mini-batch k-means over all classes.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n, d)
    clusters : int
        Capped at the number of texts.
    seed : int

    Returns
    -------
    ndarray of int32, shape (n,)
        Reproducible on equal machines; other processors may round differently.
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
    """KMeans-SMOTE [1]_: clusters with a large share of the class, favoring sparse ones.

    A cluster counts if at least half of ``share`` of its texts are of the class, and it has a text
    of the class with ``k`` neighbors. Its weight is the mean distance between its texts of the
    class, to a power that grows with their number, divided by that number; its rows share it
    equally.

    Parameters
    ----------
    embeddings : ndarray of float32, shape (n, d)
        Embeddings of the texts of all classes.
    copies : ndarray of int64, shape (n,)
        Number of rows with each text.
    cluster : ndarray of int32, shape (n,)
    own : slice
        The texts of the class.
    share : float
        Share of the class in the points of all classes.
    k : int
        Capped at the number of other texts in the class.

    References
    ----------
    .. [1] Douzas, Bacao, Last: Improving imbalanced learning through a heuristic
       oversampling method based on k-means and SMOTE. Information Sciences 465, 2018.
    """
    x, of_text, rows = embeddings[own], cluster[own], copies[own]
    k = min(k, len(x) - 1)
    weight = np.zeros(len(x))
    # A single cluster always counts.
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

    From a support vector machine with scikit-learn's defaults (RBF kernel).
    """
    from sklearn.svm import SVC

    is_support = np.zeros(len(embeddings), bool)
    is_support[SVC(gamma="scale").fit(embeddings, code).support_] = True
    return is_support


def svm_sources(is_support: NDArray[np.bool_], others: NDArray[np.int64], m: int) -> Sources:
    """SVM-SMOTE [1]_: support vectors; extrapolates beyond those safe from other classes.

    A support vector whose ``m`` nearest are all of other classes is noise. Those in danger are
    interpolated as in SMOTE; safe ones are extrapolated, by up to half the distance to a neighbor,
    away from it. Each kind gets half of the points, the mean of the fraction that imbalanced-learn
    draws once per class; if there is only one kind, it gets all.

    Parameters
    ----------
    is_support : ndarray of bool, shape (t,)
        Of the class.
    others : ndarray of int64, shape (t,)
        From `others_among_nearest` with ``m``.
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
