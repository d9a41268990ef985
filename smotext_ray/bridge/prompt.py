"""The prompt template: which of the LLM's tokens stand around the soft tokens."""

from __future__ import annotations

from typing import Any

from smotext_ray.bridge.config import SOFT_PLACEHOLDER
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


def _adds_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
