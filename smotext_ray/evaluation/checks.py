"""Shared validation of embeddings and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class TooFewTexts(ValueError):
    """There are too few texts for a measure, which is nothing that the caller did wrong."""


def embeddings(name: str, x: np.ndarray) -> np.ndarray:
    """``x`` as float64; ValueError unless it is finite and has shape (n, d) with n > 0."""
    rows = np.asarray(x, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"The embeddings ({name}) must have shape (n, d), not {rows.shape}.")
    if not np.isfinite(rows).all():
        raise ValueError(f"The embeddings ({name}) hold NaN or infinity.")
    return rows


def same_width(**named: np.ndarray) -> list[np.ndarray]:
    """Check each array with `embeddings`; ValueError if their widths differ."""
    checked = [embeddings(name, x) for name, x in named.items()]
    if len({x.shape[1] for x in checked}) > 1:
        widths = ", ".join(f"{name} {x.shape[1]}" for name, x in named.items())
        raise ValueError(f"The embeddings differ in width: {widths}.")
    return checked


def class_codes(
    real_labels: Sequence[Any] | np.ndarray, synthetic_labels: Sequence[Any] | np.ndarray
) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """The sorted classes of the real texts, and the class index of each text.

    Raises
    ------
    ValueError
        If a synthetic text has a label that no real text has.
    """
    names, real = np.unique(np.asarray(real_labels), return_inverse=True)
    wanted = np.asarray(synthetic_labels)
    strangers = sorted(set(wanted.tolist()) - set(names.tolist()), key=str)
    if strangers:
        raise ValueError(f"No real text has the label {strangers[0]!r}.")
    return names.tolist(), real, np.searchsorted(names, wanted)
