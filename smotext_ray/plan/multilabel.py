"""Rows with several labels: which labels are rare, how many texts each gets, and their labels.

The measures and the three ways to label a new row are those of MLSMOTE [1]_. It adds one row for
every row with a minority label; here each label has a target, as in the rest of this package, and
a text made for one label counts for all of its labels.

.. [1] Charte, Rivera, del Jesus, Herrera: MLSMOTE: Approaching imbalanced multilabel learning
   through synthetic instance generation. Knowledge-Based Systems 89, 2015.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from smotext_ray.config.choices import LabelSets
from smotext_ray.errors import UserError
from smotext_ray.plan.acceptance import lacking
from smotext_ray.plan.strategy import mapped_targets, read_strategy
from smotext_ray.tables import label_pairs

Together = Mapping[Any, Mapping[Any, float]]


def imbalance_ratios(counts: Mapping[Any, int]) -> dict[Any, float]:
    """IRLbl of each label: the rows of the most frequent label, divided by its own.

    Parameters
    ----------
    counts : mapping of label to int
        Rows with each label, at least one.

    Examples
    --------
    >>> imbalance_ratios({"grain": 10, "ship": 40, "earn": 80})
    {'grain': 8.0, 'ship': 2.0, 'earn': 1.0}
    """
    most = max(counts.values(), default=0)
    return {label: most / number for label, number in counts.items()}


def mean_imbalance_ratio(counts: Mapping[Any, int]) -> float:
    """MeanIR: the mean of the labels' `imbalance_ratios`; at least 1."""
    ratios = imbalance_ratios(counts).values()
    return sum(ratios) / len(ratios)


def minority_labels(counts: Mapping[Any, int]) -> list[Any]:
    """The labels whose ratio is above the mean, the rarest first.

    Examples
    --------
    >>> minority_labels({"grain": 10, "ship": 40, "earn": 80})
    ['grain']
    """
    mean = mean_imbalance_ratio(counts)
    ratios = imbalance_ratios(counts)
    return rarest_first((label for label in counts if ratios[label] > mean), counts)


def rarest_first(labels: Iterable[Any], counts: Mapping[Any, int]) -> list[Any]:
    """Labels sorted by their number of rows, ties by their names."""
    return sorted(labels, key=lambda label: (counts.get(label, 0), str(label)))


def label_targets(
    counts: Mapping[Any, int],
    sampling_strategy: Any,
    allow_reached: bool = False,
    names: Mapping[Any, str] | None = None,
) -> dict[Any, int]:
    """New texts with each label, whichever label they are made for.

    Parameters
    ----------
    counts : mapping of label to int
        Rows with each label.
    sampling_strategy : str or mapping
        "auto" raises each of the `minority_labels` until its ratio is the original mean of all
        labels. A mapping has the final number of rows with each label.
    allow_reached : bool, default=False
        This and ``names`` are as in `smotext_ray.plan.strategy.targets`.

    Returns
    -------
    dict of label to int
        Only labels that get texts, the rarest first.

    Raises
    ------
    UserError
        For a strategy that is not defined for rows with several labels, an unknown label, or a
        target below the present number of rows (unless allowed).

    Examples
    --------
    >>> label_targets({"grain": 10, "ship": 40, "earn": 80}, "auto")
    {'grain': 12}
    >>> label_targets({"grain": 10, "ship": 40, "earn": 80}, {"ship": 60, "grain": 50})
    {'grain': 40, 'ship': 20}
    """
    strategy = read_strategy(sampling_strategy)
    if isinstance(strategy, dict):
        new = mapped_targets(counts, strategy, allow_reached, names)
    elif strategy == "auto":
        least = math.ceil(round(max(counts.values()) / mean_imbalance_ratio(counts), 6))
        new = {label: least - counts[label] for label in minority_labels(counts)}
    else:
        raise UserError(
            f"The sampling strategy {sampling_strategy!r} is for rows of one class each; for rows "
            "with several labels use auto, or a JSON object of label to final count."
        )
    return {label: new[label] for label in rarest_first(new, counts) if new[label] > 0}


def lacking_labels(
    missing: Mapping[Any, int],
    planned: Mapping[Any, int],
    usable: Mapping[Any, int],
    expected_acceptance: float,
    together: Together,
) -> dict[Any, int]:
    """Points to plan in the next round, if a text counts for each of its labels.

    Each label in turn gets as many points as `smotext_ray.plan.acceptance.lacking` says, and
    later labels then lack fewer, by their share of the texts of this one.

    Parameters
    ----------
    missing : mapping of label to int
        Number of missing texts, in the order in which the labels get points.
    planned, usable : mapping of label to int
        Points that were made for each label, and how many of them became texts.
    expected_acceptance : float
    together : mapping of label to mapping of label to float
        The share of the points made for one label that have the other.

    Examples
    --------
    >>> together = {"grain": {"ship": 0.5}}
    >>> lacking_labels({"grain": 10, "ship": 8}, {}, {}, 1.0, together)
    {'grain': 10, 'ship': 3}
    """
    left = dict(missing)
    points: dict[Any, int] = {}
    for label in missing:
        number, used = left[label], usable.get(label, 0)
        if number <= 0:
            continue
        points |= lacking({label: number + used}, {label: used}, planned, expected_acceptance)
        for other, share in together.get(label, {}).items():
            if other in left:
                left[other] -= math.floor(round(number * share, 6))
    return points


def label_sets(
    sets: pa.ListArray,
    sources: NDArray[np.int64],
    neighbors: NDArray[np.int64],
    rule: LabelSets,
) -> pa.ListArray:
    """The labels of new rows, from those of their sources and the sources' neighbors.

    Parameters
    ----------
    sets : pyarrow.ListArray, length n
        The labels of each row, without duplicates.
    sources : ndarray of int64, shape (points,)
        The row from which each point starts.
    neighbors : ndarray of int64, shape (points, k)
        All neighbors of each source, whether or not a point lies toward them.
    rule : {"ranking", "union", "intersection"}
        Labels of at least half of the k + 1 rows, of any, or of all.

    Returns
    -------
    pyarrow.ListArray, length points
        In the order of the labels.

    Examples
    --------
    >>> sets = pa.array([["a", "b"], ["a", "b"], ["a", "c"], ["a", "c"]])
    >>> sources, neighbors = np.array([0]), np.array([[1, 2, 3]])
    >>> for rule in ("ranking", "union", "intersection"):
    ...     print(label_sets(sets, sources, neighbors[:, :2], rule).to_pylist())
    [['a', 'b']]
    [['a', 'b', 'c']]
    [['a']]
    """
    together = np.column_stack([sources, neighbors])
    points, each = together.shape
    rows, labels = label_pairs(sets.take(pa.array(together.ravel())))
    known = labels.unique().sort()
    codes = np.asarray(pc.index_in(labels, value_set=known), np.int64)
    pairs, counts = np.unique(rows // each * max(len(known), 1) + codes, return_counts=True)
    least = {"ranking": (each + 1) // 2, "union": 1, "intersection": each}[rule]
    point, code = np.divmod(pairs[counts >= least], max(len(known), 1))
    ends = np.concatenate([[0], np.cumsum(np.bincount(point, minlength=points))])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), known.take(pa.array(code)))


def shares(labels: pa.Array, sets: pa.Array) -> dict[Any, dict[Any, float]]:
    """The share of the points made for each label that has each of the other labels.

    Parameters
    ----------
    labels : pyarrow.Array
        The label that each point is made for.
    sets : pyarrow.ListArray
        All labels of each point.
    """
    total = Counter(labels.to_pylist())
    found: dict[Any, Counter[Any]] = defaultdict(Counter)
    for label, others in zip(labels.to_pylist(), sets.to_pylist(), strict=True):
        found[label].update(other for other in others if other != label)
    return {
        label: {other: number / total[label] for other, number in sorted_counts(others)}
        for label, others in found.items()
    }


def sorted_counts(counts: Counter[Any]) -> list[tuple[Any, int]]:
    """Counts sorted by the labels' names."""
    return sorted(counts.items(), key=lambda item: str(item[0]))
