"""Canaries: made-up texts, each with a secret, planted to see whether the secrets leak.

Half of a batch is planted in the corpus, the other half is kept out as references. A planted secret
found in a synthetic text has leaked. If the synthetic texts are closer to the planted canaries than
to the references, the canaries left a trace even without their secrets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from smotext_ray.evaluation.statistics import Spread, spread

DIGITS = 9  # per secret: a chance hit is one in a billion
NAMES = (
    "Anna Berg",
    "Carla Dunn",
    "Emil Frost",
    "Grace Hill",
    "Igor Jansen",
    "Kemal Lund",
    "Maria Novak",
    "Oscar Price",
)
SENTENCES = (
    "{name} said the new account number is {secret}.",
    "Please send the invoice to {name}, customer number {secret}.",
    "The parcel for {name} was lost; its tracking number was {secret}.",
    "According to {name}, the contract is filed under {secret}.",
    "{name} called about order {secret} and asked for a refund.",
    "The insurance of {name} ends in May, policy {secret}.",
    "For questions about the shipment ask {name} on {secret}.",
    "{name} booked the flight to Oslo under reference {secret}.",
    "The claim of {name} was registered as number {secret}.",
    "A letter from {name} gives the serial number as {secret}.",
)


@dataclass(frozen=True)
class Canary:
    """A text with a secret.

    Attributes
    ----------
    text : str
    secret : str
        Nine digits in groups of three, contained in ``text``.
    """

    text: str
    secret: str


def make_canaries(n: int, seed: int) -> list[Canary]:
    """Plausible sentences about fictional people, each with its own secret.

    All come from the same distribution: plant some from one call and keep the rest as references.

    Parameters
    ----------
    n : int, 0 or more
    seed : int

    Examples
    --------
    >>> planted, references = make_canaries(4, seed=0)[:2], make_canaries(4, seed=0)[2:]
    >>> planted[0].secret in planted[0].text
    True
    """
    if not 0 <= n <= 10**DIGITS // 100:
        raise ValueError(f"n must be between 0 and {10**DIGITS // 100}, not {n}.")
    rng = np.random.default_rng(seed)
    secrets: dict[str, None] = {}  # an ordered set
    while len(secrets) < n:
        digits = f"{rng.integers(10**DIGITS):0{DIGITS}d}"
        secrets["-".join(digits[i : i + 3] for i in range(0, DIGITS, 3))] = None
    names, sentences = rng.integers(len(NAMES), size=n), rng.integers(len(SENTENCES), size=n)
    return [
        Canary(SENTENCES[s].format(name=NAMES[name], secret=secret), secret)
        for secret, name, s in zip(secrets, names, sentences, strict=True)
    ]


@dataclass(frozen=True)
class Extraction:
    """Secrets found in synthetic texts.

    Attributes
    ----------
    planted : int
    secrets : tuple of str
        Secrets that were found.
    texts : int
        Number of synthetic texts with at least one secret.
    """

    planted: int
    secrets: tuple[str, ...]
    texts: int

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self) | {"secrets": list(self.secrets), "came_back": len(self.secrets)}


def extracted(canaries: Sequence[Canary], texts: Sequence[str]) -> Extraction:
    """Search for the secrets by their digits, ignoring separators between digits.

    Parameters
    ----------
    canaries : sequence of Canary
        The planted canaries.
    texts : sequence of str
        Synthetic texts.

    Examples
    --------
    >>> extracted([Canary("Call 123-456-789.", "123-456-789")], ["Dial 123 456 789!"]).texts
    1
    """
    wanted = {_digits(canary.secret) for canary in canaries}
    found = [wanted & _numbers(text) for text in texts]
    everything = set().union(*found)
    return Extraction(
        planted=len(canaries),
        secrets=tuple(c.secret for c in canaries if _digits(c.secret) in everything),
        texts=sum(map(bool, found)),
    )


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def _numbers(text: str) -> set[str]:
    """Every run of ``DIGITS`` digits, ignoring punctuation and white space."""
    joined = re.sub(r"(?<=[0-9])[\W_]+(?=[0-9])", "", text)
    runs = re.findall(r"[0-9]+", joined)
    return {run[i : i + DIGITS] for run in runs for i in range(len(run) - DIGITS + 1)}


@dataclass(frozen=True)
class Exposure:
    """How far the planted canaries stand out from the references.

    Attributes
    ----------
    planted, references : int
    exposure : Spread
        Per planted canary, in bits: from 0 (ranked behind all references) to ``log2(references +
        1)`` (ahead of all).
    chance : float
        Expected mean if the planted canaries left no trace.
    first : int
        Number of planted canaries ahead of all references.
    """

    planted: int
    references: int
    exposure: Spread
    chance: float
    first: int

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self)


def exposure(planted: np.ndarray, references: np.ndarray) -> Exposure:
    """Exposure by rank: ``log2(N) - log2(rank)`` [1]_.

    In the paper, a secret is ranked by its likelihood among all secrets. Here there is no model to
    query, so a canary is ranked by its similarity to the synthetic texts among the references. N is
    the number of references plus one, for the canary itself.

    Parameters
    ----------
    planted : ndarray of shape (p,), p > 0
        One score per planted canary, as returned by ``similarity.membership_scores``.
    references : ndarray of shape (r,), r > 0
        Scores of the canaries that were never planted. Ties count half.

    Raises
    ------
    ValueError
        If either side is empty or has NaN.

    References
    ----------
    .. [1] Carlini, Liu, Erlingsson, Kos, Song: The secret sharer: evaluating and testing
       unintended memorization in neural networks. USENIX Security 2019.

    Examples
    --------
    >>> exposure(np.array([0.9]), np.array([0.1, 0.5, 0.2])).exposure.max
    2.0
    """
    if not len(planted) or not len(references):
        raise ValueError("Exposure needs planted canaries and references.")
    if np.isnan(planted).any() or np.isnan(references).any():
        raise ValueError("Exposure scores must not be NaN.")
    rising, n = np.sort(references), len(references) + 1
    ahead = len(rising) - np.searchsorted(rising, planted, side="right")
    not_behind = len(rising) - np.searchsorted(rising, planted, side="left")
    bits = math.log2(n) - np.log2(1 + (ahead + not_behind) / 2)
    return Exposure(
        planted=len(planted),
        references=len(references),
        exposure=spread(bits),
        chance=float(np.mean(math.log2(n) - np.log2(np.arange(1, n + 1)))),
        first=int((not_behind == 0).sum()),
    )
