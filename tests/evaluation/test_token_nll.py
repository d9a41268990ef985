"""Nats of a tiny LLM against its own logits, one text at a time."""

from __future__ import annotations

import pytest
import torch
from tiny_models import WORDS, tiny_llm
from transformers import AutoModelForCausalLM, AutoTokenizer

from smotext_ray.evaluation.fidelity.perplexity import BATCH, TokenNLL

TEXTS = [" ".join(WORDS[i : i + 1 + i % 7]) for i in range(2 * BATCH + 3)]


@pytest.fixture(scope="module", params=[False, True], ids=["end token", "start token"])
def directory(request, tmp_path_factory):
    return tiny_llm(tmp_path_factory.mktemp("llm"), start_token=request.param)


def nats_of(directory, text, start, tokens):
    """As the definition has it: the sum of -log p of each token after those before it."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    llm = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16).eval()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"][:tokens]
    total = 0.0
    for place, token in enumerate(ids):
        before = torch.tensor([[start, *ids[:place]]])
        with torch.inference_mode():
            logits = llm(before).logits[0, -1].float()
        total -= torch.log_softmax(logits, dim=0)[token].item()
    return total, len(ids)


@pytest.mark.parametrize("tokens", [64, 3])
def test_nats_and_tokens_of_each_text(directory, tokens):
    token_nll = TokenNLL(str(directory), tokens)
    start = AutoTokenizer.from_pretrained(directory).bos_token_id
    found = token_nll(TEXTS)
    for row in (0, 5, BATCH, len(TEXTS) - 1):
        nats, count = nats_of(directory, TEXTS[row], start, tokens)
        assert found[row] == (pytest.approx(nats, rel=0.02), count)
    assert max(count for _, count in found) == min(7, tokens)


def test_texts_without_tokens_say_nothing(directory):
    token_nll = TokenNLL(str(directory), 64)
    assert token_nll([]) == []
    assert token_nll(["", ""]) == [(0.0, 0), (0.0, 0)]
    nothing, something = token_nll(["", WORDS[0]])
    assert nothing == (0.0, 0) and something[0] > 0 and something[1] == 1


def test_a_tokenizer_without_a_start_token_starts_with_its_end_token(tmp_path):
    directory = tiny_llm(tmp_path)
    token_nll = TokenNLL(str(directory), 64)
    assert token_nll._start == token_nll._tokenizer.bos_token_id
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.bos_token = None
    tokenizer.save_pretrained(directory)
    token_nll = TokenNLL(str(directory), 64)
    assert token_nll._start == tokenizer.eos_token_id
    (found,) = token_nll([WORDS[3]])
    assert found[0] == pytest.approx(
        nats_of(directory, WORDS[3], token_nll._start, 64)[0], rel=0.02
    )
