"""Keep an LLM from ending a text early, unless it is sure of the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ARGUMENT = "least_length"  # of vLLM's requests: the minimum number of tokens
SURE = 0.9


def forbid_end(logits: torch.Tensor, rows: Sequence[int], ends: Sequence[int]) -> None:
    """Forbid the end tokens in some rows of logits, unless they have nearly all probability.

    If the LLM is sure of the end, it could only continue with tokens that it has barely learned to
    use, such as "LEGATOLEGATO".

    Parameters
    ----------
    logits : Tensor of shape (n, vocabulary)
        Before the temperature; changed in place.
    rows, ends : sequence of int

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[0.0, 1.0, 0.5], [0.0, 9.0, 0.5]])
    >>> forbid_end(logits, [0, 1], [1])
    >>> logits.tolist()
    [[0.0, -inf, 0.5], [0.0, 9.0, 0.5]]
    """
    import torch  # here, because the engine imports this module before it sets torch's environment

    chosen = torch.tensor(rows, device=logits.device)
    end = torch.tensor(ends, dtype=torch.int64, device=logits.device)
    own = logits[chosen].float()
    share = (own[:, end].logsumexp(dim=1) - own.logsumexp(dim=1)).exp()
    unsure = chosen[share < SURE]
    logits[unsure[:, None], end] = -torch.inf
