"""Denoise embeddings, given only noised ones.

Everything here uses only noised coordinates, labels and public values: it is post-processing and
does not weaken the privacy guarantee.

With the variance ``prior[j]`` of public embeddings along direction j, a class mean is modeled as
N(0, prior) and its members as N(mean, spread * prior): an empirical Bayes estimate [1]_ whose only
free parameter, the spread, comes from the noised rows' variance. A record's noise drowns its own
signal, but averages out over a class: a denoised row is its class mean plus a small part of its own
deviation, so the rows of a class are close together. Spreading them again by sampling from the
posterior gave more varied texts of the wrong class: for 64 points of Reuters R8 at epsilon 8, 42%
of the texts were nearest to their class's true mean, compared with 67% without sampling.

References
----------
.. [1] Efron and Morris: Stein's estimation rule and its competitors. JASA 68, 1973.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassSums:
    """Sums over noised rows; they can be added over blocks.

    Attributes
    ----------
    counts : ndarray of shape (classes,)
    sums : ndarray of shape (classes, k), float64
    squares : float
        Sum of squares over all values of all rows.
    """

    counts: np.ndarray
    sums: np.ndarray
    squares: float

    @classmethod
    def of(cls, rows: np.ndarray, codes: np.ndarray, classes: int) -> ClassSums:
        """Sums of a block; ``codes`` holds the class index of each row."""
        sums = np.zeros((classes, rows.shape[1]))
        np.add.at(sums, codes, rows)
        return cls(np.bincount(codes, minlength=classes), sums, float(np.square(rows).sum()))

    def __add__(self, other: ClassSums) -> ClassSums:
        return ClassSums(
            self.counts + other.counts, self.sums + other.sums, self.squares + other.squares
        )


@dataclass(frozen=True)
class Denoiser:
    """Maps noised rows to denoised ones.

    Attributes
    ----------
    means : ndarray of shape (classes, k)
        Class means of the noised rows.
    estimates : ndarray of shape (classes, k)
        Posterior estimates of the class means.
    share : ndarray of shape (k,), in [0, 1)
        Share of a row's deviation that is signal rather than noise.
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
    """Estimate the class means and their spread.

    Parameters
    ----------
    of : ClassSums
        Sums over all noised rows; no class is empty.
    prior : ndarray of shape (k,)
        Variances of public embeddings.
    clip_norm, noise_scale : float
        Clipping norm and noise scale applied to the rows.

    Returns
    -------
    Denoiser
    """
    noise = noise_scale**2
    prior = prior * min(1.0, clip_norm**2 / float(prior.sum()))  # reduced by clipping
    means = of.sums / of.counts[:, None]
    around = of.squares - float((of.counts * np.square(means).sum(1)).sum())
    freedom = max(1, int(of.counts.sum()) - len(of.counts))
    spread = np.clip((around / freedom - len(prior) * noise) / prior.sum(), 0.0, 1.0)
    within = spread * prior
    share = within / (within + noise)
    weight = prior / (prior + (within + noise) / of.counts[:, None])
    return Denoiser(means, weight * means, share)
