"""How much a record's own synthetic texts reveal about it.

An attack that finds members may have found a difference between the corpus and the test texts, such
as their age. The leak is what a record's own texts add, so the attack is repeated with only the
texts made from other records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smotext_ray.evaluation.leakage.membership import Attack, attack
from smotext_ray.plan.vectors import unit

BLOCK = 1024  # members at once


@dataclass(frozen=True)
class OwnTexts:
    """The attack by the nearest synthetic text, on records that texts were made from.

    Attributes
    ----------
    all_texts, without_own : Attack
        In ``without_own``, no record is compared with texts that it is a parent of.
    """

    all_texts: Attack
    without_own: Attack


def attack_parents(
    members: np.ndarray, others: np.ndarray, synthetic: np.ndarray, own: np.ndarray
) -> OwnTexts | None:
    """Attack parents with and without their own texts.

    Parameters
    ----------
    members, others : ndarray of shape (n, d)
        Parents, and texts that were never used. Both of a pair have the same class and are compared
        with the same texts, so that leaving some out lowers the scores of both.
    synthetic : ndarray of shape (m, d)
    own : ndarray of int, shape (m, p)
        The members that each text was made from, as rows of ``members``; -1 for others.

    Returns
    -------
    OwnTexts or None
        None with fewer than two members, or if all texts were made from one member.
    """
    x, z, y = unit(members), unit(others), unit(synthetic)
    scores = np.empty((4, len(x)))
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        rows = np.arange(len(x))[part]
        is_own = (own[None] == rows[:, None, None]).any(axis=2)
        for i, records in enumerate((x, z)):
            cosines = records[part] @ y.T
            scores[i, part] = cosines.max(1)
            scores[2 + i, part] = np.where(is_own, -np.inf, cosines).max(1)
    if len(x) < 2 or np.isinf(scores).any():
        return None
    return OwnTexts(attack(*scores[:2]), attack(*scores[2:]))


def matched_parents(
    real_labels: Sequence[str], test_labels: Sequence[str], parents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Random parents and equally many test texts of each class, as pairs of row numbers.

    Parameters
    ----------
    real_labels, test_labels : sequence of str
    parents : ndarray of int, shape (texts, p)
        Rows of the corpus.
    """
    rng = np.random.default_rng(0)
    real, test = np.asarray(real_labels), np.asarray(test_labels)
    used = np.unique(parents)
    members, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for label in sorted(set(real[used])):
        inside, outside = used[real[used] == label], np.flatnonzero(test == label)
        size = min(len(inside), len(outside))
        members.append(rng.permutation(inside)[:size])
        others.append(rng.permutation(outside)[:size])
    return np.concatenate(members), np.concatenate(others)
