"""The template's tokens are those that the LLM's tokenizer makes of its text."""

from __future__ import annotations

import pytest
from tiny_models import word_tokenizer

from smotext_ray.errors import UserError
from smotext_ray.models.prompts import template_token_ids


@pytest.fixture
def plain():
    """Has a start token, but puts none before a text, as SmolLM2."""
    return word_tokenizer(None, bos_token="<s>", eos_token="</s>")


@pytest.fixture
def starting():
    """Puts its start token before every text, as Llama and Mistral."""
    return word_tokenizer(("<s> $A", ["<s>"]), bos_token="<s>", eos_token="</s>")


def ids(tokenizer, text):
    return tokenizer.convert_tokens_to_ids(text.split())


def test_the_text_before_and_after_is_told_apart(plain):
    before, after = template_token_ids("corn0 ship1 <xRAG> gold2", plain)
    assert (before, after) == (ids(plain, "corn0 ship1"), ids(plain, "gold2"))


def test_the_placeholder_alone_gives_no_tokens(plain):
    assert template_token_ids("<xRAG>", plain) == ([], [])


def test_a_start_token_stands_once_and_in_front(starting):
    before, after = template_token_ids("corn0 <xRAG> gold2", starting)
    assert before == [starting.bos_token_id, *ids(starting, "corn0")]
    assert after == ids(starting, "gold2")
    assert template_token_ids("<xRAG>", starting) == ([starting.bos_token_id], [])


def test_a_tokenizer_without_a_start_token_adds_none():
    tokenizer = word_tokenizer(None, eos_token="</s>")
    assert template_token_ids("corn0 <xRAG>", tokenizer) == (ids(tokenizer, "corn0"), [])


@pytest.mark.parametrize("template", ["", "corn0", "<xRAG> corn0 <xRAG>", "<xrag>"])
def test_a_template_holds_the_placeholder_exactly_once(plain, template):
    with pytest.raises(UserError, match="exactly once"):
        template_token_ids(template, plain)
