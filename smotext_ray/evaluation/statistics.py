"""Confidence intervals, and quantiles over many texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class Spread:
    """Mean and quantiles.

    Attributes
    ----------
    count : int
    mean, min, q05, q25, median, q75, q95, max : float
        Quantiles are interpolated linearly.
    """

    count: int
    mean: float
    min: float
    q05: float
    q25: float
    median: float
    q75: float
    q95: float
    max: float

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self)


def spread(values: Iterable[float] | np.ndarray) -> Spread:
    """Mean and quantiles of one or more finite numbers.

    Raises
    ------
    ValueError
        If there is no number, or one is NaN or infinite.

    Examples
    --------
    >>> spread([1, 2, 6]).mean, spread([1, 2, 6]).median
    (3.0, 2.0)
    """
    numbers = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.float64)
    if not numbers.size or not np.isfinite(numbers).all():
        raise ValueError("A spread needs at least one number, and only finite ones.")
    return Spread(numbers.size, float(numbers.mean()), *map(float, np.quantile(numbers, QUANTILES)))


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its confidence interval.

    Attributes
    ----------
    mean, low, high : float
        NaN where undefined: the interval of a single value, a ratio to zero.
    n : int
        Number of values, one per seed.
    """

    mean: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, float | int | None]:
        """The fields as a mapping of plain values, with None for NaN."""
        return {k: None if math.isnan(v) else v for k, v in vars(self).items()}


def interval(values: Sequence[float]) -> Interval:
    """Mean of values with its two-sided 95% confidence interval.

    Student's t with n - 1 degrees of freedom. Over seeds, this reflects the variation from drawing
    training rows; the test rows are fixed.

    Parameters
    ----------
    values : sequence of float, length n

    Examples
    --------
    >>> found = interval([0.8, 0.9])
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3)
    (0.85, 0.215, 1.485)
    """
    from scipy.stats import t

    x = np.asarray(values, dtype=np.float64)
    if not len(x):
        raise ValueError("An interval needs at least one value.")
    mean = float(np.mean(x))
    if len(x) == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(x) - 1) * np.std(x, ddof=1) / math.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half, len(x))
