"""How long the text at a point should be, given the lengths of its parents' texts."""

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


def _counted(
    texts: Sequence[str | None], count: Callable[[Sequence[str]], Sequence[int]]
) -> np.ndarray:
    return np.asarray(count([text or "" for text in texts]), np.float64)
