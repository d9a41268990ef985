"""What can be said of embeddings of which only noised ones are known.

Everything here sees noised coordinates, labels and public figures, and nothing else: it is
post-processing and takes nothing from the promise.

With a variance ``prior[j]`` of public embeddings along direction j, a class's mean is taken
to be N(0, prior) and its members N(mean, spread * prior): an empirical Bayes estimate [1]_
whose one free number, the spread, is read off the noised rows' variance. The noise of a
record drowns what is its own, that of a class averages out. So a denoised row is its class's
mean, a little of its own deviation, and for the rest a draw of what members of the class
differ by: without the draw all rows of a class would be one point.

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
    unknown : ndarray of shape (k,)
        Standard deviation of what is not known of a row.
    """

    means: np.ndarray
    estimates: np.ndarray
    share: np.ndarray
    unknown: np.ndarray

    def __call__(
        self, rows: np.ndarray, codes: np.ndarray, random: np.random.Generator
    ) -> np.ndarray:
        """Noised rows to denoised ones, both of shape (n, k)."""
        known = self.estimates[codes] + self.share * (rows - self.means[codes])
        return np.asarray(known + self.unknown * random.standard_normal(rows.shape))


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
    return Denoiser(means, weight * means, share, np.sqrt(within * (1 - share)))
