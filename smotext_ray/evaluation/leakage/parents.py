"""How much a record's own synthetic texts give it away.

An attack that finds members may have found a difference between the corpus and the test texts, such
as their age. What leaks is what a record's own texts add: the attack is repeated on texts that were
made from other records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smotext_ray.evaluation.leakage.membership import Attack, attack
from smotext_ray.plan.vectors import unit


@dataclass(frozen=True)
class OwnTexts:
    """The attack by the nearest synthetic text, on records that texts were made from.

    Attributes
    ----------
    all_texts, without_own : Attack
        ``without_own``: no record is compared with texts that it is a parent of.
    """

    all_texts: Attack
    without_own: Attack


def attack_parents(
    members: np.ndarray, others: np.ndarray, synthetic: np.ndarray, own: np.ndarray
) -> OwnTexts:
    """Attack parents with and without their own texts.

    Parameters
    ----------
    members, others : ndarray of shape (n, d)
        Parents, and texts that were never used. A pair is of one class, and is compared with the
        same texts, so that leaving some out lowers the scores of both.
    synthetic : ndarray of shape (m, d)
    own : ndarray of bool, shape (n, m)
        Whether the member is a parent of the text; no row may be all true.
    """
    x, z, y = unit(members), unit(others), unit(synthetic)
    near, far = x @ y.T, z @ y.T
    rest = [np.where(own, -1.0, cosines).max(1) for cosines in (near, far)]
    return OwnTexts(attack(near.max(1), far.max(1)), attack(*rest))


def matched_parents(
    real_labels: Sequence[str], test_labels: Sequence[str], parents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Equal random numbers of parents and of test texts of each class, as pairs of row numbers.

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
