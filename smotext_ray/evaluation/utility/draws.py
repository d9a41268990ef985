"""Draws of one run's rows: a seed leaves out some real texts and what was made from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smotext_ray.evaluation.controls.decode import Control
from smotext_ray.evaluation.inputs import EvaluationData
from smotext_ray.evaluation.rows import Rows

LEFT_OUT = 0.1


@dataclass(frozen=True, eq=False)
class Made:
    """Rows, and the real rows that each was made from.

    Attributes
    ----------
    rows : Rows
        Length n.
    origins : ndarray of int64, shape (n, p), or None
        Numbers of the drawn real rows; None if none were used.
    """

    rows: Rows
    origins: np.ndarray | None


def undrawn(material: EvaluationData) -> tuple[Rows, Made]:
    """All real texts, and all synthetic ones."""
    return material.real, Made(material.synthetic, material.parents)


def draw(material: EvaluationData, seed: int) -> tuple[Rows, Made]:
    """Nine tenths of each class's real texts, and the synthetic ones whose parents are all kept."""
    rows, new = drawn(material, seed)
    numbers = _numbers(rows, len(material.real))
    synthetic = Made(material.synthetic.take(new), numbers[material.parents[new]])
    return material.real.take(rows), synthetic


def drawn(material: EvaluationData, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The row numbers behind `draw`.

    Of n rows of a class, ``LEFT_OUT * n`` are left out, rounded up or down at random so that small
    classes vary too; a class keeps at least two rows, if it has them.
    """
    labels = np.asarray(material.real.labels)
    kept = np.ones(len(labels), bool)
    rng = np.random.default_rng([seed, 5])
    for label in sorted(set(material.real.labels)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        number = int(LEFT_OUT * len(rows) + rng.random())
        kept[rows[: min(number, max(len(rows) - 2, 0))]] = False
    return np.flatnonzero(kept), np.flatnonzero(kept[material.parents].all(axis=1))


def draw_decoded(
    material: EvaluationData, seed: int, decoded: Mapping[str, Control]
) -> dict[str, Made]:
    """The part of the decoded controls that a seed keeps.

    A text with parents is kept if all of them are, like a synthetic text. From texts without
    parents, each class loses at random the same share that SMOTExT loses.
    """
    rows, new = drawn(material, seed)
    numbers = _numbers(rows, len(material.real))
    total = Counter(material.synthetic.labels)
    stays = Counter(material.synthetic.labels[row] for row in new)
    shares = {label: stays[label] / count for label, count in total.items()}
    left = {}
    for name, control in decoded.items():
        if control.parents is None:
            counts = Counter(control.rows.labels)
            wanted = {k: round(shares.get(k, 0.0) * count) for k, count in counts.items()}
            part = by_lot(control.rows.labels, wanted, [seed, 6])
            left[name] = Made(control.rows.take(part), None)
        else:
            origins = numbers[control.parents]
            part = np.flatnonzero((origins >= 0).all(axis=1))
            left[name] = Made(control.rows.take(part), origins[part])
    return left


def by_lot(labels: Sequence[str], numbers: Mapping[str, int], seed: Sequence[int]) -> np.ndarray:
    """Sorted row numbers of a random sample of ``numbers[label]`` rows of each class."""
    rng = np.random.default_rng(seed)
    names, kept = np.asarray(labels), np.zeros(len(labels), bool)
    for label in sorted(set(labels)):
        rows = rng.permutation(np.flatnonzero(names == label))
        kept[rows[: numbers[label]]] = True
    return np.flatnonzero(kept)


def _numbers(rows: np.ndarray, total: int) -> np.ndarray:
    """The number of each real row among the drawn ones, or -1."""
    numbers = np.full(total, -1, np.int64)
    numbers[rows] = np.arange(len(rows))
    return numbers
