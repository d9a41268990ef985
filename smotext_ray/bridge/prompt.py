"""From soft tokens to the whole prompt that the LLM reads, as embeddings."""

from __future__ import annotations

from typing import Any

import torch

from smotext_ray.bridge.projector import SOFT_PLACEHOLDER
from smotext_ray.errors import UserError


def template_token_ids(template: str, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids of the template's text before and after the soft tokens.

    Parameters
    ----------
    template : str
        Holds ``<xRAG>`` exactly once.
    tokenizer : PreTrainedTokenizer

    Returns
    -------
    before, after : list of int

    Raises
    ------
    UserError
        If ``<xRAG>`` is not there exactly once.
    """
    if template.count(SOFT_PLACEHOLDER) != 1:
        raise UserError(f"A bridge template holds {SOFT_PLACEHOLDER} exactly once: {template!r}.")
    before, after = template.split(SOFT_PLACEHOLDER)
    # The model's own start token, if it has one, stands before a template as before any text.
    start = [tokenizer.bos_token_id] if _adds_bos(tokenizer) else []
    return (
        start + tokenizer(before, add_special_tokens=False)["input_ids"],
        tokenizer(after, add_special_tokens=False)["input_ids"],
    )


def prompt_embeds(
    soft_tokens: torch.Tensor, before: torch.Tensor, after: torch.Tensor
) -> torch.Tensor:
    """Put the template's own token embeddings around the soft tokens.

    Parameters
    ----------
    soft_tokens : Tensor of shape (n, K, hidden)
    before, after : Tensor of shape (length, hidden)
        Embedding rows of ``template_token_ids``; either may be empty.

    Returns
    -------
    Tensor of shape (n, len(before) + K + len(after), hidden), dtype of ``before``
    """
    n = len(soft_tokens)
    return torch.cat(
        [before.expand(n, -1, -1), soft_tokens.to(before.dtype), after.expand(n, -1, -1)], dim=1
    )


def _adds_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
