"""Prompt templates: the LLM's tokens around the soft tokens."""

from __future__ import annotations

from typing import Any

from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import SOFT_PLACEHOLDER


def template_token_ids(template: str, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids of the template's text before and after the soft tokens.

    Parameters
    ----------
    template : str
        Must contain ``<xRAG>`` exactly once.
    tokenizer : PreTrainedTokenizer

    Returns
    -------
    before, after : list of int

    Raises
    ------
    UserError
        If it does not contain ``<xRAG>`` exactly once.
    """
    before, after = _split(template, "A bridge template", template, tokenizer)
    # The model's start token, if it has one, precedes the template as it precedes any text.
    start = [tokenizer.bos_token_id] if _adds_bos(tokenizer) else []
    return start + before, after


def instruction_token_ids(instruction: str, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids around the soft tokens of an instruction for the LLM.

    Parameters
    ----------
    instruction : str
        Must contain ``<xRAG>`` exactly once.
    tokenizer : PreTrainedTokenizer
        If it has a chat template, the instruction becomes a user turn.

    Returns
    -------
    before, after : list of int

    Raises
    ------
    UserError
        If it does not contain ``<xRAG>`` exactly once.
    """
    if tokenizer.chat_template is None:
        return template_token_ids(f"{instruction}\n", tokenizer)
    turn = [{"role": "user", "content": instruction}]
    chat = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    # The chat template adds the model's start token.
    return _split(chat, "An instruction", instruction, tokenizer)


def about_background(question: str) -> str:
    """xRAG's instruction to answer a question from a background text."""
    return f"Refer to the background document: {SOFT_PLACEHOLDER}\n\n{question}"


def _split(text: str, what: str, given: str, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids before and after the placeholder; ``what`` and ``given`` are for the error."""
    if text.count(SOFT_PLACEHOLDER) != 1:
        raise UserError(f"{what} must contain {SOFT_PLACEHOLDER} exactly once: {given!r}.")
    before, after = text.split(SOFT_PLACEHOLDER)
    return (
        tokenizer(before, add_special_tokens=False)["input_ids"],
        tokenizer(after, add_special_tokens=False)["input_ids"],
    )


def _adds_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
