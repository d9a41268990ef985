"""What can be said of embeddings of which only noised ones are known.

Everything here sees noised coordinates, labels and public figures, and nothing else: it is
post-processing and takes nothing from the promise.

With a variance ``prior[j]`` of public embeddings along direction j, a class's mean is taken
to be N(0, prior) and its members N(mean, spread * prior): an empirical Bayes estimate [1]_
whose one free number, the spread, is read off the noised rows' variance. The noise of a
record drowns what is its own, that of a class averages out: a denoised row is its class's
mean and a little of its own deviation. So the rows of a class lie close together. Spreading
them again, by draws of what a record may be, gave more varied texts of the wrong class: of
64 points of Reuters R8 at epsilon 8, 42 % of the texts were nearest to their class's true
mean, and without draws 67 %.

References
----------
.. [1] Efron and Morris: Stein's estimation rule and its competitors. JASA 68, 1973.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassSums:
    """Sums over noised rows, which add up over any number of blocks.

    Attributes
    ----------
    counts : ndarray of shape (classes,)
    sums : ndarray of shape (classes, k), float64
    squares : float
        Of all numbers of all rows.
    """

    counts: np.ndarray
    sums: np.ndarray
    squares: float

    @classmethod
    def of(cls, rows: np.ndarray, codes: np.ndarray, classes: int) -> ClassSums:
        """Sums of a block; ``codes`` holds the number of each row's class."""
        sums = np.zeros((classes, rows.shape[1]))
        np.add.at(sums, codes, rows)
        return cls(np.bincount(codes, minlength=classes), sums, float(np.square(rows).sum()))

    def __add__(self, other: ClassSums) -> ClassSums:
        return ClassSums(
            self.counts + other.counts, self.sums + other.sums, self.squares + other.squares
        )


@dataclass(frozen=True)
class Denoiser:
    """How a noised row is read.

    Attributes
    ----------
    means : ndarray of shape (classes, k)
        Of the noised rows.
    estimates : ndarray of shape (classes, k)
        Where the classes' means most probably are.
    share : ndarray of shape (k,), in [0, 1)
        Of a row's deviation that is its own, and not noise.
    """

    means: np.ndarray
    estimates: np.ndarray
    share: np.ndarray

    def __call__(self, rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Noised rows to denoised ones, both of shape (n, k)."""
        return np.asarray(self.estimates[codes] + self.share * (rows - self.means[codes]))


def fit_denoiser(
    of: ClassSums, prior: np.ndarray, clip_norm: float, noise_scale: float
) -> Denoiser:
    """Estimate the classes and their spread.

    Parameters
    ----------
    of : ClassSums
        Of all noised rows; no class is empty.
    prior : ndarray of shape (k,)
        Variances of public embeddings.
    clip_norm, noise_scale : float
        With which the rows were clipped and noised.

    Returns
    -------
    Denoiser
    """
    noise = noise_scale**2
    prior = prior * min(1.0, clip_norm**2 / float(prior.sum()))  # as far as clipping leaves it
    means = of.sums / of.counts[:, None]
    around = of.squares - float((of.counts * np.square(means).sum(1)).sum())
    freedom = max(1, int(of.counts.sum()) - len(of.counts))
    spread = np.clip((around / freedom - len(prior) * noise) / prior.sum(), 0.0, 1.0)
    within = spread * prior
    share = within / (within + noise)
    weight = prior / (prior + (within + noise) / of.counts[:, None])
    return Denoiser(means, weight * means, share)
