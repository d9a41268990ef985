"""What the text at a point should look like, given its parents' texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa


def lengths_at_points(
    plan: pa.Table, count: Callable[[Sequence[str]], Sequence[int]]
) -> np.ndarray:
    """Lengths of the parents' texts, mixed in the proportions in which the points mix the parents.

    Parameters
    ----------
    plan : Table
        See `smotext_ray.tables.plan_schema`.
    count : callable
        Maps texts to their lengths, for example in tokens.

    Returns
    -------
    ndarray of shape (n,), float64
        0 for points whose parents' texts are not in the plan, as in a run with epsilon.
    """
    own = _counted(plan["source_text"].to_pylist(), count)
    lengths = own + plan["lam"].to_numpy() * (
        _counted(plan["neighbor_text"].to_pylist(), count) - own
    )
    if "other_lams" not in plan.column_names:
        return lengths
    others = plan["other_neighbor_texts"].to_pylist()
    for row, (lams, texts) in enumerate(zip(plan["other_lams"].to_pylist(), others, strict=True)):
        lengths[row] += np.dot(lams, _counted(texts, count) - own[row])
    return lengths


def main_parents(plan: pa.Table) -> list[str | None]:
    """The text of the parent that each point has most of.

    Case and punctuation cannot be mixed, so a text takes them from one parent.

    Parameters
    ----------
    plan : Table
        See `smotext_ray.tables.plan_schema`.

    Returns
    -------
    list of str or None, length n
        None where the parents' texts are not in the plan, as in a run with epsilon.

    Examples
    --------
    >>> plan = {"source_text": ["a", "b"], "neighbor_text": ["A", "B"], "lam": [0.2, 0.7]}
    >>> main_parents(pa.table(plan))
    ['a', 'B']
    """
    names = ("source_text", "neighbor_text", "lam")
    source, neighbor, lam = (plan[name].to_pylist() for name in names)
    others: list[list[float]] = [[]] * len(plan)
    other_texts: list[list[str]] = [[]] * len(plan)
    if "other_lams" in plan.column_names:
        others = plan["other_lams"].to_pylist()
        other_texts = plan["other_neighbor_texts"].to_pylist()
    return [
        max(
            zip([1 - first - sum(more), first, *more], [own, near, *texts], strict=True),
            key=lambda shared: shared[0],
        )[1]
        for own, near, first, more, texts in zip(
            source, neighbor, lam, others, other_texts, strict=True
        )
    ]


def _counted(
    texts: Sequence[str | None], count: Callable[[Sequence[str]], Sequence[int]]
) -> np.ndarray:
    return np.asarray(count([text or "" for text in texts]), np.float64)
