"""Confidence intervals, and quantiles over many texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
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

    def of_share(self) -> Interval:
        """The interval of a share, cut at 0 and 1: Student's has no bounds."""
        if math.isnan(self.low):
            return self
        return replace(self, low=max(self.low, 0.0), high=min(self.high, 1.0))

    def as_json(self) -> dict[str, float | int | None]:
        """The fields as a mapping of plain values, with None for NaN."""
        return {k: None if math.isnan(v) else v for k, v in vars(self).items()}


def interval(values: Sequence[float], left_out: float = 0.0) -> Interval:
    """Mean of values and its two-sided 95% confidence interval, with n - 1 degrees of freedom.

    Independent values give Student's interval. Draws that each leave out a share of ONE sample
    overlap, and so differ less than independent samples would. The delete-d jackknife [1]_
    multiplies their variance by ``(1 - left_out) / left_out`` instead of dividing it by their
    number, so more draws make the interval more stable but not narrower.

    Parameters
    ----------
    values : sequence of float, length n
    left_out : float in [0, 1), default=0.0
        The share of the sample that each draw leaves out; 0 for independent values.

    References
    ----------
    .. [1] Shao, Wu: A general theory for jackknife variance estimation. Annals of Statistics
       17(3), 1989.

    Examples
    --------
    >>> found = interval([0.8, 0.9])
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3)
    (0.85, 0.215, 1.485)
    >>> found = interval([0.8, 0.9], left_out=0.5)
    >>> round(found.low, 3), round(found.high, 3)
    (-0.048, 1.748)
    """
    from scipy.stats import t

    mean, error, n = _mean_and_error(values, left_out)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error if n > 1 else math.nan
    return Interval(mean, mean - half, mean + half, n)


def p_value(values: Sequence[float], left_out: float = 0.0) -> float:
    """Two-sided p value for a mean of zero, by the test that corresponds to `interval`.

    Parameters
    ----------
    values, left_out
        As in `interval`.

    Returns
    -------
    float in [0, 1]
        NaN for a single value; 1 if all values are zero.

    Examples
    --------
    >>> round(p_value([0.1, 0.2, 0.3]), 3)
    0.074
    """
    from scipy.stats import t

    mean, error, n = _mean_and_error(values, left_out)
    if n == 1:
        return math.nan
    if not error:
        return 0.0 if mean else 1.0
    return float(2 * t.sf(abs(mean) / error, n - 1))


def _mean_and_error(values: Sequence[float], left_out: float) -> tuple[float, float, int]:
    """Mean, its standard error (NaN for a single value), and the number of values."""
    x = np.asarray(values, dtype=np.float64)
    if not len(x):
        raise ValueError("An interval needs at least one value.")
    if len(x) == 1:
        return float(x[0]), math.nan, 1
    scale = (1 - left_out) / left_out if left_out else 1 / len(x)
    return float(np.mean(x)), math.sqrt(scale) * float(np.std(x, ddof=1)), len(x)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for their number by Holm's step-down method [1]_.

    Parameters
    ----------
    p_values : sequence of float in [0, 1]

    Returns
    -------
    list of float in [0, 1]
        In the given order; the family-wise error rate of "adjusted <= alpha" is at most alpha.

    References
    ----------
    .. [1] Holm: A simple sequentially rejective multiple test procedure. Scandinavian Journal
       of Statistics 6(2), 1979.

    Examples
    --------
    >>> holm([0.04, 0.01, 0.03])
    [0.06, 0.03, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return [round(value, 12) for value in adjusted.tolist()]


def critical_difference(arms: int, sets: int) -> float:
    """Smallest significant difference of two arms' mean ranks, by Nemenyi's test at 5% [1]_.

    Parameters
    ----------
    arms : int, at least 2
        Number of arms, compared on every dataset.
    sets : int, at least 1
        Number of datasets.

    References
    ----------
    .. [1] Demsar: Statistical comparisons of classifiers over multiple data sets. Journal of
       Machine Learning Research 7, 2006.

    Examples
    --------
    >>> round(critical_difference(arms=4, sets=14), 2)
    1.25
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(CONFIDENCE, arms, np.inf)) / math.sqrt(2)
    return q * math.sqrt(arms * (arms + 1) / (6 * sets))
