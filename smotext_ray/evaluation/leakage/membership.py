"""Membership inference by an attacker who has only the synthetic texts.

The attacker scores a record by its similarity to the synthetic texts and calls the most similar
ones members. The result is a lower bound: a better attacker may find more.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from smotext_ray.evaluation.leakage.similarity import Records, membership_scores

CONFIDENCE = 0.95
RESAMPLES = 1000
ONE_PERCENT = 100  # non-members needed for a false positive rate of 1%


@dataclass(frozen=True)
class Attack:
    """How well one score separates members from non-members.

    Attributes
    ----------
    auc : float, in [0, 1]
        0.5 is guessing.
    auc_low, auc_high : float
        95% percentile bootstrap, resampling members and non-members. Too narrow if members are
        close to each other.
    tpr_at_1_fpr : float in [0, 1], or None
        True positive rate at a false positive rate of at most 1%; 0.01 is guessing. None with fewer
        than 100 non-members.
    tpr_low, tpr_high : float or None
        Bootstrap interval of ``tpr_at_1_fpr``.
    """

    auc: float
    auc_low: float
    auc_high: float
    tpr_at_1_fpr: float | None
    tpr_low: float | None
    tpr_high: float | None


@dataclass(frozen=True)
class MembershipInference:
    """Results of the attacks.

    Attributes
    ----------
    members, non_members, synthetic : int
    attacks : dict
        Score name, as in `membership_scores`, to Attack.
    """

    members: int
    non_members: int
    synthetic: int
    attacks: dict[str, Attack]

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self)


def membership_inference(
    members: Records, non_members: Records, synthetic: Records, seed: int = 0
) -> MembershipInference:
    """Attack with every score.

    Parameters
    ----------
    members : Records
        Training texts.
    non_members : Records
        Texts never used, from the same source and with the same class mix.
    synthetic : Records
    seed : int
        Seed of the bootstrap.

    Raises
    ------
    ValueError
        If one of them is empty, or widths differ.
    """
    of_members, of_others = (
        membership_scores(members, synthetic),
        membership_scores(non_members, synthetic),
    )
    return MembershipInference(
        members=len(members.texts),
        non_members=len(non_members.texts),
        synthetic=len(synthetic.texts),
        attacks={name: attack(of_members[name], of_others[name], seed) for name in of_members},
    )


def attack(members: np.ndarray, non_members: np.ndarray, seed: int = 0) -> Attack:
    """How well scores separate members from non-members, with bootstrap intervals.

    Parameters
    ----------
    members : ndarray of shape (n,)
    non_members : ndarray of shape (m,)
        Neither may be empty or contain NaN.
    seed : int
    """
    rng = np.random.default_rng(seed)
    aucs, tprs = [], []
    measurable = len(non_members) >= ONE_PERCENT
    for _ in range(RESAMPLES):
        drawn = rng.choice(members, len(members)), rng.choice(non_members, len(non_members))
        aucs.append(auc(*drawn))
        if measurable:
            tprs.append(tpr_at_1_fpr(*drawn))
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = map(float, np.quantile(aucs, tails))
    area = auc(members, non_members)
    if not measurable:
        return Attack(area, low, high, None, None, None)
    share_low, share_high = map(float, np.quantile(tprs, tails))
    return Attack(area, low, high, tpr_at_1_fpr(members, non_members), share_low, share_high)


def auc(members: np.ndarray, non_members: np.ndarray) -> float:
    """Probability that a member scores higher than a non-member; ties count half.

    Raises
    ------
    ValueError
        If either side is empty or has NaN.

    Examples
    --------
    >>> auc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    _check(members, non_members)
    rising = np.sort(non_members)
    below = np.searchsorted(rising, members, side="left")
    not_above = np.searchsorted(rising, members, side="right")
    return float((below + not_above).mean() / (2 * len(rising)))


def tpr_at_1_fpr(members: np.ndarray, non_members: np.ndarray) -> float:
    """True positive rate at a false positive rate of at most 1% [1]_.

    With fewer than 100 non-members, that allows no false positive.

    References
    ----------
    .. [1] Carlini, Chien, Nasr, Song, Terzis, Tramer: Membership inference attacks from
       first principles. IEEE S&P 2022.
    """
    _check(members, non_members)
    falling = -np.sort(-np.asarray(non_members))
    return float((members > falling[len(falling) // ONE_PERCENT]).mean())


def _check(members: np.ndarray, non_members: np.ndarray) -> None:
    if not len(members) or not len(non_members):
        raise ValueError("An attack needs members and non-members.")
    if np.isnan(members).any() or np.isnan(non_members).any():
        raise ValueError("Attack scores must not be NaN.")
