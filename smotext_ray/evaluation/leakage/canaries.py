"""Canaries: made-up texts with a secret each, planted to see whether they come back.

Half of a batch is planted in the corpus, the other half never is. A planted secret that
stands in a synthetic text has come back; and where the synthetic texts lie nearer to the
planted canaries than to the others, they have left a trace, even without their secrets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from smotext_ray.evaluation.statistics import Spread, spread

DIGITS = 9  # of a secret: a chance hit is one in a thousand million
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
    """A text to plant.

    Attributes
    ----------
    text : str
    secret : str
        Nine digits in groups of three, which stand in the text.
    """

    text: str
    secret: str


def make_canaries(n: int, seed: int) -> list[Canary]:
    """Plausible sentences about people who do not exist, each with a secret of its own.

    All are drawn alike: plant some of one call and keep the others as references.

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
    secrets: dict[str, None] = {}  # a set that keeps its order
    while len(secrets) < n:
        digits = f"{rng.integers(10**DIGITS):0{DIGITS}d}"
        secrets["-".join(digits[i : i + 3] for i in range(0, DIGITS, 3))] = None
    names, sentences = rng.integers(len(NAMES), size=n), rng.integers(len(SENTENCES), size=n)
    return [
        Canary(SENTENCES[s].format(name=NAMES[name], secret=secret), secret)
        for secret, name, s in zip(secrets, names, sentences, strict=True)
    ]


@dataclass(frozen=True)
class CameBack:
    """Secrets found in synthetic texts.

    Attributes
    ----------
    planted : int
    secrets : tuple of str
        Those that came back.
    texts : int
        Synthetic texts that hold one or more.
    """

    planted: int
    secrets: tuple[str, ...]
    texts: int

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self) | {"secrets": list(self.secrets), "came_back": len(self.secrets)}


def came_back(canaries: Sequence[Canary], texts: Sequence[str]) -> CameBack:
    """Look for the secrets, digit by digit, whatever signs stand between their digits.

    Parameters
    ----------
    canaries : sequence of Canary
        The planted ones.
    texts : sequence of str
        Synthetic.

    Examples
    --------
    >>> came_back([Canary("Call 123-456-789.", "123-456-789")], ["Dial 123 456 789!"]).texts
    1
    """
    wanted = {_digits(canary.secret) for canary in canaries}
    found = [wanted & _numbers(text) for text in texts]
    everything = set().union(*found)
    return CameBack(
        planted=len(canaries),
        secrets=tuple(c.secret for c in canaries if _digits(c.secret) in everything),
        texts=sum(map(bool, found)),
    )


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def _numbers(text: str) -> set[str]:
    """Every run of as many digits as a secret has, signs and white space left out."""
    joined = re.sub(r"(?<=[0-9])[\W_]+(?=[0-9])", "", text)
    runs = re.findall(r"[0-9]+", joined)
    return {run[i : i + DIGITS] for run in runs for i in range(len(run) - DIGITS + 1)}


@dataclass(frozen=True)
class Exposure:
    """How far planted canaries stand out from others like them.

    Attributes
    ----------
    planted, references : int
    exposure : Spread
        Of each planted canary, in bits: from 0, behind all references, to
        ``log2(references + 1)``, ahead of all.
    chance : float
        Its mean, had the planted ones left no trace.
    first : int
        Planted canaries that are ahead of all references.
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

    There, the rank is that of a secret's likelihood among all secrets; here, that of a
    canary's nearness to the synthetic texts among canaries that were never planted, as
    there is no model to ask. N is their number and one, for the canary itself.

    Parameters
    ----------
    planted : ndarray of shape (p,), p > 0
        One score of each planted canary, as ``nearness.nearness`` gives it.
    references : ndarray of shape (r,), r > 0
        Of those never planted. Of equal ones half are taken to be ahead.

    Raises
    ------
    ValueError
        For an empty side or NaN.

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
        raise ValueError("Exposure's scores must not be NaN.")
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
