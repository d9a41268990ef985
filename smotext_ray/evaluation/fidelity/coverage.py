"""How close synthetic texts are to their target points and to the real texts; pure numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from smotext_ray.evaluation.checks import class_codes, same_width
from smotext_ray.evaluation.statistics import Spread, spread
from smotext_ray.plan.vectors import unit

NEAREST = 5
BLOCK = 1024  # real rows whose distances are in memory at once
# Rounding and batch composition change a text's embedding by up to this much, relative to the
# longest embedding.
COPY_TOLERANCE = 1e-5


@dataclass(frozen=True)
class RoundTrip:
    """How well texts match the points they were decoded from.

    Attributes
    ----------
    cosine : Spread
        Cosine of each text's embedding to its own point.
    to_other_points : float or None
        Mean cosine to all other points, as expected of a text that ignores its point. None for a
        single text.
    """

    cosine: Spread
    to_other_points: float | None

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self)


def round_trip(text_embeddings: np.ndarray, points: np.ndarray) -> RoundTrip:
    """Cosines of texts to the points that they were decoded from.

    Parameters
    ----------
    text_embeddings, points : ndarray of shape (n, d)
        Row i of one belongs to row i of the other. A zero row has cosine 0.

    Raises
    ------
    ValueError
        If the shapes differ, there are no rows, or values are NaN or infinite.
    """
    x, wanted = same_width(texts=text_embeddings, points=points)
    if len(x) != len(wanted):
        raise ValueError(f"{len(x)} texts do not match {len(wanted)} points.")
    x, wanted = unit(x), unit(wanted)
    own = (x * wanted).sum(1)
    n = len(x)
    # The sum over all pairs is the dot product of the two sums.
    others = float(x.sum(0) @ wanted.sum(0) - own.sum()) / (n * (n - 1)) if n > 1 else None
    return RoundTrip(spread(own), others)


@dataclass(frozen=True)
class Manifold:
    """Density and coverage of synthetic texts among the real ones.

    Attributes
    ----------
    real, synthetic : int
        Number of texts compared.
    k : int
        The ball around a real text extends to its k-th neighbor.
    density : float, at least 0
        Number of real texts' balls that contain a synthetic text, on average, over ``k``. About 1
        if both come from the same distribution, more if synthetic texts crowd into dense regions.
    coverage : float, in [0, 1]
        Share of real texts whose ball contains a synthetic text.
    expected_coverage : float, in [0, 1]
        Expected coverage if both came from the same distribution; the number of synthetic texts
        limits coverage.
    """

    real: int
    synthetic: int
    k: int
    density: float
    coverage: float
    expected_coverage: float

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self)


@dataclass(frozen=True)
class DensityCoverage:
    """Density and coverage, overall and by class.

    Attributes
    ----------
    overall : Manifold or None
        All classes below pooled, ignoring labels. None if there are none.
    classes : dict
        Label to Manifold, for classes with at least two real texts and one synthetic text.
    left_out : tuple
        Labels with synthetic texts but only one real text.
    """

    overall: Manifold | None
    classes: dict[Any, Manifold]
    left_out: tuple[Any, ...]

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values; classes become a list."""
        return {
            "overall": self.overall and self.overall.as_json(),
            "classes": [{"label": c, **found.as_json()} for c, found in self.classes.items()],
            "left_out": list(self.left_out),
        }


def density_coverage(
    real: np.ndarray,
    real_labels: Sequence[Any] | np.ndarray,
    synthetic: np.ndarray,
    synthetic_labels: Sequence[Any] | np.ndarray,
    k: int = NEAREST,
) -> DensityCoverage:
    """Density and coverage of synthetic texts, overall and by class.

    Real texts of a class without synthetic texts are not counted.

    Parameters
    ----------
    real : ndarray of shape (n, d)
    real_labels : sequence of length n
    synthetic : ndarray of shape (m, d)
    synthetic_labels : sequence of length m
    k : int
        Capped at the number of neighbors that a class has.

    Raises
    ------
    ValueError
        If embeddings do not match each other or their labels, a label is unknown, or k < 1.
    """
    real, synthetic = same_width(real=real, synthetic=synthetic)
    if len(real) != len(real_labels) or len(synthetic) != len(synthetic_labels):
        raise ValueError("There must be one label for each embedding.")
    names, codes, synthetic_codes = class_codes(real_labels, synthetic_labels)
    present = np.unique(synthetic_codes)
    large = [c for c in present if (codes == c).sum() > 1]
    classes = {
        names[c]: manifold(real[codes == c], synthetic[synthetic_codes == c], k) for c in large
    }
    overall = None
    if large:
        rows, others = np.isin(codes, large), np.isin(synthetic_codes, large)
        overall = manifold(real[rows], synthetic[others], k)
    left_out = tuple(names[c] for c in present if c not in large)
    return DensityCoverage(overall, classes, left_out)


def manifold(real: np.ndarray, synthetic: np.ndarray, k: int = NEAREST) -> Manifold:
    """Density and coverage by Euclidean distance [1]_.

    The ball around a real text extends to its ``k``-th nearest other real text, exclusive. It
    always contains copies of the text, even when its radius is zero because the text occurs more
    than ``k`` times.

    Parameters
    ----------
    real : ndarray of shape (n, d), n > 1
    synthetic : ndarray of shape (m, d), m > 0
    k : int
        Capped at n - 1.

    References
    ----------
    .. [1] Naeem, Oh, Uh, Choi, Yoo: Reliable fidelity and diversity metrics for generative
       models. ICML 2020, arXiv:2002.09797.

    Examples
    --------
    >>> line = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> found = manifold(line, line[:2] + 0.1, k=1)
    >>> found.density, found.coverage
    (2.0, 0.75)
    """
    real, synthetic = same_width(real=real, synthetic=synthetic)
    n, m = len(real), len(synthetic)
    if n < 2 or k < 1:
        raise ValueError(f"Density needs two real texts and k > 0, got {n} and k = {k}.")
    k = min(k, n - 1)
    tolerance = COPY_TOLERANCE * float(np.linalg.norm(real, axis=1).max())
    inside = covered = 0
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        to_real = euclidean_distances(real[rows], real)
        to_real[np.arange(len(rows)), rows] = -1.0  # a text is not its own neighbor
        radius = np.partition(to_real, k, axis=1)[:, k]
        reach = np.maximum(radius - tolerance, tolerance)
        within = euclidean_distances(real[rows], synthetic) < reach[:, None]
        inside += int(within.sum())
        covered += int(within.any(1).sum())
    # Probability that the k nearest of a real text's n - 1 + m neighbors are all real.
    missed = math.prod((n - 1 - i) / (n + m - 1 - i) for i in range(k))
    return Manifold(n, m, k, inside / (k * m), covered / n, 1.0 - missed)
