"""How surprised an LLM is by texts; what it says of each is counted elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from smotext_ray.evaluation.spread import Spread, spread


@dataclass(frozen=True)
class Perplexity:
    """How surprised an LLM is by texts.

    Attributes
    ----------
    corpus : float, at least 1
        Of all tokens together.
    texts : Spread
        Of each text by itself.
    tokens : int
    """

    corpus: float
    texts: Spread
    tokens: int

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self)


def perplexity(counts: Sequence[tuple[float, int]]) -> Perplexity:
    """Perplexity from what an LLM says of each text.

    Parameters
    ----------
    counts : sequence of (float, int)
        Per text the sum of ``-log p`` over its tokens, in nats, and their number. Texts
        without tokens are passed over.

    Raises
    ------
    ValueError
        For no tokens at all, negative numbers, NaN or infinity.

    Examples
    --------
    >>> round(perplexity([(np.log(8), 1), (np.log(2), 1)]).corpus, 6)
    4.0
    """
    pairs = np.asarray([pair for pair in counts if pair[1]], np.float64).reshape(-1, 2)
    if not len(pairs) or not np.isfinite(pairs).all() or (pairs < 0).any():
        raise ValueError("Perplexity needs tokens, and nats that are not negative.")
    nats, tokens = pairs.T
    corpus = float(np.exp(nats.sum() / tokens.sum()))
    return Perplexity(corpus, spread(np.exp(nats / tokens)), int(tokens.sum()))
