"""The frozen models: texts as the LLM reads them, and its loss against plain transformers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_models import HIDDEN
from tiny_training import tiny_config

from smotext_ray.training.config import TrainConfig
from smotext_ray.training.frozen import FrozenModels, TokenLoss


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    return tiny_config(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("tokens", [1, 128, 300])  # 128 are taken at a time
def test_the_token_loss_is_cross_entropy_forward_and_backward(tokens):
    torch.manual_seed(0)
    head, ids = torch.randn(50, 16), torch.randint(50, (tokens,))
    weights = torch.rand(tokens)
    hidden = torch.randn(tokens, 16, requires_grad=True)
    nll = TokenLoss.apply(hidden, head, ids)
    (nll * weights).sum().backward()

    plain = hidden.detach().clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(plain @ head.T, ids, reduction="none")
    (expected * weights).sum().backward()
    torch.testing.assert_close(nll, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(hidden.grad, plain.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 300])
def test_the_token_loss_adds_the_divergence_from_a_teacher(tokens):
    torch.manual_seed(0)
    head, ids = torch.randn(50, 16), torch.randint(50, (tokens,))
    hidden, teacher = torch.randn(tokens, 16, requires_grad=True), torch.randn(tokens, 16)
    loss = TokenLoss.apply(hidden, head, ids, teacher, 2.0)
    loss.sum().backward()

    plain = hidden.detach().clone().requires_grad_()
    logits, wanted = plain @ head.T, (teacher @ head.T).log_softmax(1)
    nll = torch.nn.functional.cross_entropy(logits, ids, reduction="none")
    divergence = torch.nn.functional.kl_div(
        logits.log_softmax(1), wanted, reduction="none", log_target=True
    )
    expected = nll + 2 * divergence.sum(1)
    expected.sum().backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(hidden.grad, plain.grad, rtol=1e-4, atol=1e-4)


def test_without_gradients_the_token_loss_makes_none(monkeypatch):
    """They cost as much as the loss, and evaluation has no use for them."""
    hidden, head, ids = torch.randn(300, 16), torch.randn(50, 16), torch.randint(50, (300,))
    made = []
    plain = torch.Tensor.exp
    monkeypatch.setattr(torch.Tensor, "exp", lambda self: made.append(1) or plain(self))
    without = TokenLoss.apply(hidden, head, ids)
    assert made == []
    with_gradients = TokenLoss.apply(hidden.requires_grad_(), head, ids)
    assert len(made) == 3 and torch.equal(without, with_gradients)


def test_the_token_loss_of_large_logits_is_finite():
    hidden = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    nll = TokenLoss.apply(hidden, torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 0]))
    nll.sum().backward()
    assert nll.tolist() == [0.0, 2e4] and hidden.grad.isfinite().all()


@pytest.fixture
def frozen(config) -> FrozenModels:
    models = FrozenModels(config)
    models.llm.float()  # to be compared with plain transformers
    return models


def test_the_nll_is_that_of_plain_transformers_text_by_text(frozen):
    texts = ["corn0", "ship1 ship2 ship3", "gold0 gold1 gold2 gold3 gold4 gold5"]
    batch = frozen.batch(texts)
    prompts = torch.randn(3, 2, HIDDEN, device=frozen.device)
    table, expected = frozen.llm.get_input_embeddings(), []
    for prompt, row in zip(prompts, batch.ids, strict=True):
        ids = row[row >= 0]
        inputs = torch.cat([prompt, table(ids)])[None]
        logits = frozen.llm(inputs_embeds=inputs).logits[0, 1:-1]
        expected.append(torch.nn.functional.cross_entropy(logits, ids, reduction="none"))
    torch.testing.assert_close(
        frozen.nll(prompts, batch), torch.cat(expected), rtol=1e-4, atol=1e-4
    )


def test_without_a_prompt_the_llm_gets_its_start_token(frozen):
    batch = frozen.batch(["ship1 ship2"])
    start = torch.tensor([[frozen.tokenizer.bos_token_id]], device=frozen.device)
    ids = torch.cat([start, batch.ids], dim=1)
    logits = frozen.llm(ids).logits[0, :-1]
    expected = torch.nn.functional.cross_entropy(logits, batch.ids[0], reduction="none")
    torch.testing.assert_close(frozen.nll(None, batch), expected, rtol=1e-4, atol=1e-4)


def test_a_text_ends_with_the_end_token_unless_cut_off(frozen):
    end = frozen.tokenizer.eos_token_id
    ids = frozen.batch(["corn0", "corn0 corn1 corn2 corn3 corn4 corn5"]).ids
    words = frozen.tokenizer.convert_tokens_to_ids([f"corn{i}" for i in range(6)])
    assert ids.tolist() == [[words[0], end, -1, -1, -1, -1], words]


def test_the_template_is_saved_as_the_llms_embeddings_of_it(config):
    config = replace(config, template="corn0 <xRAG> gold1 gold2")
    frozen = FrozenModels(config)
    bridge = frozen.new_bridge(config)
    table = frozen.llm.get_input_embeddings().weight.float()
    corn, *gold = frozen.tokenizer.convert_tokens_to_ids(["corn0", "gold1", "gold2"])
    assert torch.equal(bridge.before, table[[corn]])
    assert torch.equal(bridge.after, table[gold])
    assert bridge.prompt_length == 5
    assert bridge.output_scale.item() == pytest.approx(3 * table.std().item(), rel=1e-3)


def test_only_the_projector_its_scale_and_the_styles_learn(frozen, config):
    names = {name for name, _ in frozen.new_bridge(config).named_parameters()}
    assert names == {"output_scale", "style"} | {
        f"projector.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }
    assert not any(p.requires_grad for p in frozen.llm.parameters())


def test_prompts_of_several_lengths_are_answered_as_one_by_one(frozen):
    batch = frozen.batch(["corn0", "ship1 ship2 ship3", "gold0 gold1"])
    torch.manual_seed(0)
    prompts = [torch.randn(length, HIDDEN, device=frozen.device) for length in (5, 1, 3)]
    together = frozen.answers(prompts, batch)
    alone = []
    for prompt, ids in zip(prompts, batch.ids, strict=True):
        told = frozen.llm.get_input_embeddings()(ids[ids >= 0])
        inputs = torch.cat([prompt, told])[None]
        hidden = frozen.llm.model(inputs_embeds=inputs).last_hidden_state[0]
        alone.append(hidden[len(prompt) - 1 : -1])
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)
