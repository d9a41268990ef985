"""Points drawn from a release: they stand in for the records' embeddings.

The noised mean of a class says where it is. The release does not say how its texts differ from each
other; the variances of public texts stand in for that.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.privacy.directions import Directions
from smotext_ray.privacy.release import Release

LEAST_POINTS = 20  # per class: enough for SMOTE to choose neighbors from


def class_means(release: Release, variances: np.ndarray, clip_norm: float) -> np.ndarray:
    """Estimate the class means from their noised sums.

    With the public variances as the prior of a class mean, the estimate is the posterior mean: it
    is drawn toward the public mean if the noise is large [1]_.

    Parameters
    ----------
    release : Release
    variances : ndarray of shape (k,)
        Variances of public embeddings along the released directions.
    clip_norm : float

    Returns
    -------
    ndarray of shape (classes, k), float64
        In the coordinates of embeddings.

    References
    ----------
    .. [1] Efron and Morris: Stein's estimation rule and its competitors. JASA 68, 1973.
    """
    total = float(variances.sum())
    prior = variances / max(total, clip_norm**2)  # in multiples of the norm, after clipping
    counts = np.maximum(release.counts, 1.0)[:, None]
    shrunk = prior / (prior + (release.noise / counts) ** 2)
    # A clipped record is as long as the norm; public embeddings show how long it was before.
    return release.sums / counts * shrunk * max(clip_norm, total**0.5)


def class_rows(release: Release) -> list[int]:
    """Number of points of each class: its noised count, rounded, and at least `LEAST_POINTS`."""
    return [max(LEAST_POINTS, round(float(count))) for count in release.counts]


def draw_points(
    release: Release,
    directions: Directions,
    privacy: PrivacyConfig,
    seed: int,
    *,
    normalize: bool,
    most: int = 10_000,
) -> Iterator[tuple[int, np.ndarray]]:
    """Draw the points of all classes, in the order of the release.

    Parameters
    ----------
    release : Release
    directions : Directions
        The directions of the release.
    privacy : PrivacyConfig
        ``spread`` is the share of the public standard deviations around a class mean.
    seed : int
        The same release and seed give the same points.
    normalize : bool
        Scale points to length 1, as the encoder does.
    most : int, default=10_000
        Points per block.

    Yields
    ------
    code : int
        Index of the class.
    points : ndarray of shape (n, d), float32
    """
    deviations = privacy.spread * np.sqrt(directions.variances.astype(np.float64))
    means = class_means(release, directions.variances.astype(np.float64), privacy.clip_norm)
    for code, (mean, rows) in enumerate(zip(means, class_rows(release), strict=True)):
        random = np.random.default_rng([seed, code])
        for start in range(0, rows, most):
            around = random.standard_normal((min(most, rows - start), len(mean)))
            points = directions.lift(mean + around * deviations)
            if normalize:
                points /= np.linalg.norm(points, axis=1, keepdims=True)
            yield code, points.astype(np.float32)
