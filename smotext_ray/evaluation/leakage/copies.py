"""Copy check: overlap of synthetic texts with real ones, and distances between them.

Passing only means that a text is not a copy: records have been recovered from synthetic data that
passed such checks (arXiv:2505.01524). membership.py and canaries.py attack the same weak spots.
None of this is a proof of privacy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from smotext_ray.evaluation.checks import same_width
from smotext_ray.evaluation.ngrams import ShingleIndex, jaccard, longest_shared_run, shingles
from smotext_ray.evaluation.statistics import Spread, spread
from smotext_ray.plan.neighbors import nearest_neighbors
from smotext_ray.utils.text import fingerprint

NEAR_COPY = 0.8  # Jaccard similarity of word 3-grams


@dataclass(frozen=True)
class Copies:
    """Synthetic texts that repeat real ones.

    Attributes
    ----------
    texts : int
        Number of synthetic texts checked.
    verbatim : tuple of int
        Indices of texts equal to a real text, ignoring case and white space.
    near_parent, near_any : tuple of int
        Indices of near copies of one of their parents, and of any real text.
    verbatim_share, near_parent_share, near_any_share : float, in [0, 1]
    longest_run : Spread
        Length in words of the longest run that each text shares with one of its parents.
    longest_run_between_parents : Spread or None
        The same between the parents of each text, as a baseline: real neighbors that share
        only a subject. None if no text has two parents.
    """

    texts: int
    verbatim: tuple[int, ...]
    near_parent: tuple[int, ...]
    near_any: tuple[int, ...]
    verbatim_share: float
    near_parent_share: float
    near_any_share: float
    longest_run: Spread
    longest_run_between_parents: Spread | None

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        found = asdict(self)
        return found | {name: list(v) for name, v in found.items() if isinstance(v, tuple)}


def copies(texts: Sequence[str], parents: Sequence[Sequence[str]], real: Sequence[str]) -> Copies:
    """Find verbatim and near copies of real texts among synthetic ones.

    Near copies share 80% of their distinct word 3-grams (Jaccard similarity), ignoring case and
    punctuation.

    Parameters
    ----------
    texts : sequence of str, length n > 0
    parents : sequence of sequences of str, length n
        One or more parents of each text.
    real : sequence of str
        All texts that the synthetic ones must not repeat.

    Raises
    ------
    ValueError
        If there are no texts, or a text has no parents.

    Examples
    --------
    >>> found = copies(["the ship sank"], [("A ship sank", "the war")], ["The ship  sank"])
    >>> found.verbatim_share, found.near_parent_share, found.longest_run.max
    (1.0, 0.0, 2.0)
    """
    if not texts or len(texts) != len(parents) or not all(parents):
        raise ValueError("The copy check needs texts with parents.")
    known = {fingerprint(text) for text in real}
    index = ShingleIndex(real)
    verbatim = tuple(i for i, text in enumerate(texts) if fingerprint(text) in known)
    near_any = tuple(i for i, text in enumerate(texts) if index.holds_near(text, NEAR_COPY))
    near_parent = tuple(i for i, text in enumerate(texts) if _is_near(text, parents[i]))
    runs = [max(longest_shared_run(text, p) for p in parents[i]) for i, text in enumerate(texts)]
    between = [longest_shared_run(pair[0], pair[1]) for pair in parents if len(pair) > 1]
    return Copies(
        texts=len(texts),
        verbatim=verbatim,
        near_parent=near_parent,
        near_any=near_any,
        verbatim_share=len(verbatim) / len(texts),
        near_parent_share=len(near_parent) / len(texts),
        near_any_share=len(near_any) / len(texts),
        longest_run=spread(runs),
        longest_run_between_parents=spread(between) if between else None,
    )


def _is_near(text: str, others: Sequence[str]) -> bool:
    grams = shingles(text)
    return any(jaccard(grams, shingles(other)) >= NEAR_COPY for other in others)


@dataclass(frozen=True)
class Distances:
    """Distances of synthetic texts to the training texts and to a hold-out.

    Attributes
    ----------
    rows : int
        Number of training texts, equal to that of hold-out texts.
    to_training, to_hold_out : Spread
        Cosine distance of each synthetic text to the closest record, in [0, 2].
    nearer_to_training : float, in [0, 1]
        Share of synthetic texts closer to the training texts than to the hold-out; ties count half.
        0.5 means no closer to the training texts than to the hold-out.
    ratio_in_training, ratio_in_hold_out : Spread
        Distance to the closest record over that to the second closest, in [0, 1]; small if only one
        record is close. 1 if both are 0.
    """

    rows: int
    to_training: Spread
    to_hold_out: Spread
    nearer_to_training: float
    ratio_in_training: Spread
    ratio_in_hold_out: Spread

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self)


def distances(training: np.ndarray, hold_out: np.ndarray, synthetic: np.ndarray) -> Distances:
    """Distance to the closest record, compared with records never used [1]_.

    Parameters
    ----------
    training, hold_out : ndarray of shape (n, d), n > 1
        Equal in number, because the closest of more records is closer; the class mix should match
        too.
    synthetic : ndarray of shape (m, d), m > 0

    Raises
    ------
    ValueError
        If sizes or widths differ, there are fewer than two records, or values are NaN or infinite.

    References
    ----------
    .. [1] Platzer, Reutterer: Holdout-based empirical assessment of mixed-type synthetic
       data. Frontiers in Big Data 4, 2021.
    """
    training, hold_out, synthetic = same_width(
        training=training, hold_out=hold_out, synthetic=synthetic
    )
    if len(training) != len(hold_out) or len(training) < 2:
        raise ValueError(
            f"{len(training)} training and {len(hold_out)} hold-out texts cannot be compared: "
            "they must be equal in number, and at least two."
        )
    near, ratio = _closest(synthetic, training)
    near_out, ratio_out = _closest(synthetic, hold_out)
    wins = np.where(near < near_out, 1.0, np.where(near == near_out, 0.5, 0.0))
    return Distances(
        rows=len(training),
        to_training=spread(near),
        to_hold_out=spread(near_out),
        nearer_to_training=float(wins.mean()),
        ratio_in_training=spread(ratio),
        ratio_in_hold_out=spread(ratio_out),
    )


def _closest(queries: np.ndarray, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the closest record, and its ratio to that of the second closest."""
    found, _ = nearest_neighbors(
        queries.astype(np.float32), records.astype(np.float32), 2, "cosine"
    )
    first, second = found.astype(np.float64).T
    return first, np.divide(first, second, out=np.ones_like(first), where=second > 0)
