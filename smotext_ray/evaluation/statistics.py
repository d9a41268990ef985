"""Where a figure lies: intervals, and quantiles over many texts."""

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
    """Mean and quantiles of at least one finite number.

    Raises
    ------
    ValueError
        For no number, NaN or infinity.

    Examples
    --------
    >>> spread([1, 2, 6]).mean, spread([1, 2, 6]).median
    (3.0, 2.0)
    """
    numbers = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.float64)
    if not numbers.size or not np.isfinite(numbers).all():
        raise ValueError("A spread is of at least one number, and of finite ones.")
    return Spread(numbers.size, float(numbers.mean()), *map(float, np.quantile(numbers, QUANTILES)))


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its confidence interval.

    Attributes
    ----------
    mean, low, high : float
        NaN where it is not defined: the interval of one value, the ratio to zero.
    n : int
        Values, one a seed.
    """

    mean: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, float | int | None]:
        """The interval under its own names, with null for NaN."""
        return {k: None if math.isnan(v) else v for k, v in vars(self).items()}


def interval(values: Sequence[float]) -> Interval:
    """Mean of values and its two-sided 95 % confidence interval.

    Student's t with n - 1 degrees of freedom. Over seeds this says how much another draw
    of training rows would matter; the test rows are taken as given.

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
        raise ValueError("No values, no interval.")
    mean = float(np.mean(x))
    if len(x) == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(x) - 1) * np.std(x, ddof=1) / math.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half, len(x))
