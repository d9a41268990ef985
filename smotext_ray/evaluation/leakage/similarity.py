"""How near records lie to the synthetic texts: all that an attacker with only those can say."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from smotext_ray.evaluation.checks import same_width
from smotext_ray.plan.vectors import unit
from smotext_ray.utils.text import words

NEAREST = 5
BLOCK = 1024  # candidates whose distances are held at once


@dataclass(frozen=True)
class Records:
    """Texts and their embeddings.

    Attributes
    ----------
    texts : sequence of str, length n
    embeddings : ndarray of shape (n, d)
    """

    texts: Sequence[str]
    embeddings: np.ndarray

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.embeddings):
            raise ValueError(f"{len(self.texts)} texts, but {len(self.embeddings)} embeddings.")


def nearness(candidates: Records, synthetic: Records) -> dict[str, np.ndarray]:
    """What an attacker can say of each candidate: higher is more likely a member.

    Returns
    -------
    dict of str to ndarray of shape (n,)
        ``max_cosine``: to the nearest synthetic text. ``mean_cosine``: to the five nearest,
        which finds out parents of many. ``kernel_density``: log density of the synthetic
        embeddings, at length 1, at the candidate's. ``ngram_likelihood``: of the candidate
        under word bigrams counted on the synthetic texts.
    """
    x, y = same_width(candidates=candidates.embeddings, synthetic=synthetic.embeddings)
    x, y = unit(x), unit(y)
    cosines = _highest_cosines(x, y)
    return {
        "max_cosine": cosines.max(1),
        "mean_cosine": cosines.mean(1),
        "kernel_density": kernel_density(x, y),
        "ngram_likelihood": ngram_likelihood(candidates.texts, synthetic.texts),
    }


def _highest_cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of each row of ``x`` to the rows of ``y`` nearest to it, in no order."""
    k = min(NEAREST, len(y))
    found = []
    for start in range(0, len(x), BLOCK):
        cosines = x[start : start + BLOCK] @ y.T
        found.append(np.partition(cosines, -k, axis=1)[:, -k:])
    return np.concatenate(found)


def kernel_density(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log density of the rows of ``y`` at those of ``x``, but for a constant.

    Gaussian kernels of the width ``r / sqrt(d)``, r being the median distance of a row of
    ``y`` to its fifth nearest: so wide, a row at the distance r is likeliest.

    Parameters
    ----------
    x : ndarray of shape (n, d)
    y : ndarray of shape (m, d)

    Returns
    -------
    ndarray of shape (n,)
        At most 0.
    """
    width = _bandwidth(y)
    found = []
    for start in range(0, len(x), BLOCK):
        exponent = -euclidean_distances(x[start : start + BLOCK], y, squared=True) / (2 * width**2)
        highest = exponent.max(1)
        rest = np.log(np.exp(exponent - highest[:, None]).mean(1))
        found.append(highest + rest)
    return np.concatenate(found)


def _bandwidth(y: np.ndarray) -> float:
    k = min(NEAREST, len(y) - 1)
    to_kth = [
        # The row itself is the nearest, at 0 or what rounding makes of it.
        np.partition(euclidean_distances(y[start : start + BLOCK], y), k, axis=1)[:, k]
        for start in range(0, len(y), BLOCK)
    ]
    # One text, or copies of one, have no width of their own.
    return max(float(np.median(np.concatenate(to_kth))), 1e-2) / math.sqrt(y.shape[1])


def ngram_likelihood(texts: Sequence[str], counted: Sequence[str]) -> np.ndarray:
    """Mean log probability of each text's words under bigrams of other texts, in nats.

    Counts are smoothed by adding one. The mean over words, where [1]_ takes the sum for
    canaries of one length, keeps long texts from being unlikely for their length alone.

    Parameters
    ----------
    texts : sequence of str, length n
    counted : sequence of str

    Returns
    -------
    ndarray of shape (n,)
        At most 0. A text without words is as unlikely as an unknown word.

    References
    ----------
    .. [1] Meeus, Wutschitz, Zanella-Beguelin, Tople, Shokri: The canary's echo: auditing
       privacy risks of LLM-generated synthetic text. ICML 2025, arXiv:2502.14921.
    """
    streams = [["", *words(text)] for text in counted]
    pairs = Counter(pair for stream in streams for pair in itertools.pairwise(stream))
    before = Counter(word for stream in streams for word in stream[:-1])
    # All words that may follow: those known, and one for the unknown.
    vocabulary = len({word for stream in streams for word in stream[1:]}) + 1
    scores = []
    for text in texts:
        stream = ["", *(words(text) or [" "])]
        found = [
            math.log((pairs[pair] + 1) / (before[pair[0]] + vocabulary))
            for pair in itertools.pairwise(stream)
        ]
        scores.append(sum(found) / len(found))
    return np.asarray(scores)
