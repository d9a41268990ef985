"""Similarity of records to the synthetic texts: the scores of a membership attack."""

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
BLOCK = 1024  # candidates whose distances are in memory at once


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
    """Membership scores of each candidate; a higher score means more likely a member.

    Returns
    -------
    dict of str to ndarray of shape (n,)
        ``max_cosine``: to the nearest synthetic text. ``mean_cosine``: to the five nearest, which
        finds parents of several texts. ``kernel_density``: log density of the normalized synthetic
        embeddings at the candidate's. ``ngram_likelihood``: of the candidate under word bigrams of
        the synthetic texts.
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
    """Cosines of each row of ``x`` to its nearest rows of ``y``, unordered."""
    k = min(NEAREST, len(y))
    found = []
    for start in range(0, len(x), BLOCK):
        cosines = x[start : start + BLOCK] @ y.T
        found.append(np.partition(cosines, -k, axis=1)[:, -k:])
    return np.concatenate(found)


def kernel_density(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log density of the rows of ``y`` at those of ``x``, up to a constant.

    Gaussian kernels of width ``r / sqrt(d)``, where r is the median distance of a row of ``y`` to
    its fifth nearest neighbor: with this width, distance r is the most likely.

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
        # The nearest is the row itself, at distance 0 up to rounding.
        np.partition(euclidean_distances(y[start : start + BLOCK], y), k, axis=1)[:, k]
        for start in range(0, len(y), BLOCK)
    ]
    # A single text, or copies of one, define no width.
    return max(float(np.median(np.concatenate(to_kth))), 1e-2) / math.sqrt(y.shape[1])


def ngram_likelihood(texts: Sequence[str], counted: Sequence[str]) -> np.ndarray:
    """Mean log probability of each text's words under bigrams of other texts, in nats.

    Add-one smoothing. Unlike [1]_, which sums over canaries of equal length, this takes the mean
    over words, so that long texts are not unlikely just because of their length.

    Parameters
    ----------
    texts : sequence of str, length n
    counted : sequence of str

    Returns
    -------
    ndarray of shape (n,)
        At most 0. A text without words scores as an unknown word.

    References
    ----------
    .. [1] Meeus, Wutschitz, Zanella-Beguelin, Tople, Shokri: The canary's echo: auditing
       privacy risks of LLM-generated synthetic text. ICML 2025, arXiv:2502.14921.
    """
    streams = [["", *words(text)] for text in counted]
    pairs = Counter(pair for stream in streams for pair in itertools.pairwise(stream))
    before = Counter(word for stream in streams for word in stream[:-1])
    # Possible next words: the vocabulary, plus one for unknown words.
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
