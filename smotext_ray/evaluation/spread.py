"""Where a figure lies over many texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

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
