"""Top-p sampling without sorting the vocabulary.

vLLM on CPU sorts all logits in each step for top-p, which took as long as the LLM itself
(docs/performance.md). The nucleus is usually a few dozen tokens, so the largest logits are selected
first, and only rows with a larger nucleus are sorted.
"""

from __future__ import annotations

import torch

PICKED = 128  # tokens; nearly all nuclei are smaller with a bridge


def keep_nucleus(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Set the logits outside each row's nucleus to minus infinity.

    The nucleus is the smallest set of most probable tokens whose probabilities sum to at least
    ``p`` [1]_; ties at its edge are broken arbitrarily.

    Parameters
    ----------
    logits : Tensor of shape (n, vocabulary), float32
        Logits after the temperature; overwritten.
    p : float, in (0, 1]

    Returns
    -------
    Tensor of shape (n, vocabulary), float32

    References
    ----------
    .. [1] Holtzman, Buys, Du, Forbes, Choi: The curious case of neural text degeneration.
       ICLR 2020.
    """
    total = logits.logsumexp(dim=-1, keepdim=True)
    values, tokens = logits.topk(min(PICKED, logits.shape[1]), dim=-1)
    mass = (values - total).exp().cumsum(dim=-1)
    larger = (mass[:, -1] < p).nonzero()[:, 0]
    rest = _by_sorting(logits[larger], total[larger], p)
    logits.fill_(-torch.inf).scatter_(1, tokens, _within(values, mass, p))
    logits[larger] = rest
    return logits


def _by_sorting(logits: torch.Tensor, total: torch.Tensor, p: float) -> torch.Tensor:
    values, tokens = logits.sort(dim=-1, descending=True)
    mass = (values - total).exp().cumsum(dim=-1)
    return logits.scatter_(1, tokens, _within(values, mass, p))


def _within(values: torch.Tensor, mass: torch.Tensor, p: float) -> torch.Tensor:
    """Descending values, with those after the nucleus replaced; ``mass`` is cumulative."""
    outside = torch.zeros_like(values, dtype=torch.bool)
    outside[:, 1:] = mass[:, :-1] >= p
    return values.masked_fill(outside, -torch.inf)
