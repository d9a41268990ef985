"""The weight of a row of the result in training: the column ``sample_weight``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def synthetic_weights(real: Mapping[Any, int], synthetic: Mapping[Any, int]) -> dict[Any, float]:
    """The weight of one synthetic text of each class; a real text weighs 1.

    Together, the synthetic texts of a class weigh as much as its real ones, so that many texts from
    a few parents do not outvote the parents; if there are fewer of them, each weighs 1. In a result
    without real texts, all weigh 1.

    Parameters
    ----------
    real, synthetic : mapping of label to int
        Rows of each class in the result.

    Examples
    --------
    >>> synthetic_weights({"grain": 40, "ship": 108}, {"grain": 120, "ship": 52})
    {'grain': 0.3333333333333333, 'ship': 1.0}
    """
    if not any(real.values()):
        return dict.fromkeys(synthetic, 1.0)
    return {
        label: min(1.0, real.get(label, 0) / number) if number else 1.0
        for label, number in synthetic.items()
    }


def row_weights(
    real: Sequence[Sequence[Any]], synthetic: Sequence[Sequence[Any]]
) -> NDArray[np.float64]:
    """The weights of all rows, the real ones first.

    A row with several labels has the smallest of their weights, so that no label's synthetic texts
    outvote its real ones.

    Parameters
    ----------
    real, synthetic : sequence of sequence
        The labels of each row.
    """
    counts = [Counter(label for labels in rows for label in labels) for rows in (real, synthetic)]
    of_label = synthetic_weights(*counts)
    new = [min(of_label[label] for label in labels) for labels in synthetic]
    return np.array([1.0] * len(real) + new)
