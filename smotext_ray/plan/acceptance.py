"""How many points the next round needs, given the share of texts that pass the gate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LEAST_ACCEPTANCE = 0.1  # at most ten points per missing text of a class
MARGIN = 2.0  # standard deviations


def lacking(
    wanted: Mapping[Any, int],
    accepted: Mapping[Any, int],
    planned: Mapping[Any, int],
    expected_acceptance: float = 1.0,
) -> dict[Any, int]:
    """Points to plan in the next round, by the acceptance rate so far.

    Enough that the missing texts pass the gate even if their number, which is binomial, is `MARGIN`
    standard deviations below its mean: another round would have to start all actors again, for a
    few texts.

    Parameters
    ----------
    wanted, accepted, planned : mapping of label to int
        Requested texts, texts that passed the gate, and points of all previous rounds.
    expected_acceptance : float, default=1.0
        In (0, 1]: acceptance rate assumed for classes without planned points.

    Examples
    --------
    >>> lacking({"grain": 30, "ship": 5}, {"grain": 20, "ship": 5}, {"grain": 40, "ship": 5})
    {'grain': 32}
    """
    points = {}
    for label, number in wanted.items():
        missing = number - accepted.get(label, 0)
        if missing > 0:
            rate = expected_acceptance
            if planned.get(label):
                rate = accepted.get(label, 0) / planned[label]
            most = math.ceil(missing / LEAST_ACCEPTANCE)
            points[label] = min(_points_for(missing, max(rate, LEAST_ACCEPTANCE)), most)
    return points


def _points_for(missing: int, rate: float) -> int:
    """The least n with n * rate - MARGIN * sqrt(n * rate * (1 - rate)) >= missing."""
    half = MARGIN * math.sqrt(1 - rate) / 2
    root = half + math.sqrt(half**2 + missing)
    return math.ceil(round(root**2 / rate, 6))
