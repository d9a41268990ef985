"""Training a bridge between tiny random models: it learns, and a kill changes nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import HIDDEN, WORDS, tiny_encoder, tiny_llm

from smotext_ray.bridge import train as training
from smotext_ray.bridge.projector import Bridge
from smotext_ray.bridge.train import (
    FrozenModels,
    TokenNLL,
    TrainConfig,
    batch_stream,
    held_out_loss,
    learning_rate,
    split_held_out,
    train,
)
from smotext_ray.errors import UserError


def made_texts(n: int) -> list[str]:
    """Texts of one to five words, all of one topic, which has two words."""
    rng = np.random.default_rng(0)
    topics = np.array(WORDS).reshape(4, 8)[:, :2]
    return [
        " ".join(rng.choice(topics[rng.integers(4)], size=rng.integers(1, 6))) for _ in range(n)
    ]


TEXTS = made_texts(80)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    directory = tmp_path_factory.mktemp("models")
    return TrainConfig(
        encoder=str(tiny_encoder(directory / "encoder")),
        llm=str(tiny_llm(directory / "llm")),
        soft_tokens=2,
        projector_hidden_size=64,
        max_text_tokens=5,
        steps=60,
        batch_size=8,
        learning_rate=1e-2,
        warmup_steps=5,
        held_out=16,
        eval_every=30,
        save_every=20,
    )


def quiet(line: str) -> None:
    """A log that nobody reads."""


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """An uninterrupted training: its bridge and its directory."""
    output = tmp_path_factory.mktemp("bridge")
    return train(TEXTS, config, output, log=quiet), output


def metrics(output) -> list[dict[str, float]]:
    """The lines of metrics.jsonl, without the speed, which no two trainings share."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lines]


def test_the_loss_falls(trained):
    losses = [line["loss"] for line in metrics(trained[1])]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_the_vector_is_read(trained):
    last = metrics(trained[1])[-1]
    assert last["held_out_matched"] < last["held_out_shuffled"] - 0.5
    assert last["held_out_matched"] < last["held_out_none"]


def test_every_step_has_a_line_and_every_eval_its_held_out_losses(trained, config):
    lines = metrics(trained[1])
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert [line["step"] for line in lines if "held_out_matched" in line] == [30, 60]
    assert [line["lr"] for line in lines] == [learning_rate(step, config) for step in range(60)]


def test_the_saved_bridge_is_the_trained_one_and_names_its_models(trained, config):
    bridge, output = trained
    loaded = Bridge.from_pretrained(output)
    for name, tensor in bridge.state_dict().items():
        assert torch.equal(loaded.state_dict()[name].cpu(), tensor.bfloat16().float().cpu()), name
    assert (loaded.config.encoder, loaded.config.llm) == (config.encoder, config.llm)
    assert len(loaded.config.encoder_sha256) == len(loaded.config.llm_sha256) == 64
    assert (loaded.config.encoder_dim, loaded.config.llm_hidden_size) == (HIDDEN, HIDDEN)
    assert loaded.config.input_scale == math.sqrt(HIDDEN)


class Killed(Exception):
    pass


def killed_at(step: int):
    def log(line: str) -> None:
        if line.startswith(f"step {step} "):
            raise Killed

    return log


@pytest.mark.parametrize("step", [10, 30, 40])  # before, between and at checkpoints
def test_a_killed_training_ends_as_an_uninterrupted_one(trained, config, tmp_path, step):
    with pytest.raises(Killed):
        train(TEXTS, config, tmp_path, log=killed_at(step))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": ')  # the line that the kill cut short
    bridge = train(TEXTS, config, tmp_path, log=quiet)
    assert_same(bridge, tmp_path, trained)


def test_a_kill_while_the_state_is_written_costs_only_the_steps_since(
    trained, config, tmp_path, monkeypatch
):
    def die(state, file):
        file.write_bytes(b"half")
        raise Killed

    with pytest.raises(Killed):
        train(TEXTS, config, tmp_path, log=killed_at(20))
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(torch, "save", die)
        train(TEXTS, config, tmp_path, log=quiet)
    first = []
    bridge = train(TEXTS, config, tmp_path, log=first.append)
    assert first[0].startswith("step 30 ")
    assert_same(bridge, tmp_path, trained)


def assert_same(bridge, output, trained):
    for name, tensor in trained[0].state_dict().items():
        assert torch.equal(bridge.state_dict()[name], tensor), name
    assert metrics(output) == metrics(trained[1])
    weights = "bridge.safetensors"
    assert (output / weights).read_bytes() == (trained[1] / weights).read_bytes()


def test_a_finished_training_is_not_gone_on_with(trained, config):
    lines = []
    bridge = train(TEXTS, config, trained[1], log=lines.append)
    assert lines == []
    assert_same(bridge, trained[1], trained)


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 61}, {"soft_tokens": 1}])
def test_a_directory_with_another_training_is_refused(trained, config, change):
    before = (trained[1] / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match="other settings"):
        train(TEXTS, replace(config, **change), trained[1], log=quiet)
    assert (trained[1] / "metrics.jsonl").read_bytes() == before


def test_too_few_texts_are_refused_before_anything_is_written(config, tmp_path):
    with pytest.raises(UserError, match=r"at least 24 texts .* there are 23"):
        train(TEXTS[:23], config, tmp_path / "bridge", log=quiet)
    assert not (tmp_path / "bridge").exists()


def test_held_out_texts_are_set_aside_and_the_same_each_time(config):
    held_out, rest = split_held_out(TEXTS, config)
    assert (held_out, rest) == split_held_out(TEXTS, config)
    assert len(held_out) == 16
    assert sorted(held_out + rest) == sorted(TEXTS)
    assert held_out != split_held_out(TEXTS, replace(config, seed=1))[0]


def take(texts, config, n, first_step=0):
    stream = batch_stream(texts, config, first_step)
    return [next(stream).tolist() for _ in range(n)]


@given(st.integers(8, 60), st.integers(1, 8), st.integers(0, 40), st.integers(0, 5))
@settings(max_examples=50)
def test_the_batch_of_a_step_depends_on_seed_and_step_alone(n, batch_size, first, seed):
    config = TrainConfig(batch_size=batch_size, seed=seed)
    texts = ["x" * (i % 7) for i in range(n)]
    assert take(texts, config, 5, first) == take(texts, config, first + 5)[first:]


@given(st.integers(8, 60), st.integers(1, 8))
@settings(max_examples=50)
def test_an_epoch_holds_a_text_once_but_for_what_fills_no_batch(n, batch_size):
    config = TrainConfig(batch_size=batch_size)
    per_epoch = n // batch_size
    batches = take(["x" * i for i in range(n)], config, 2 * per_epoch)
    for epoch in (batches[:per_epoch], batches[per_epoch:]):
        rows = [row for batch in epoch for row in batch]
        assert len(rows) == len(set(rows)) == per_epoch * batch_size
        assert set(rows) <= set(range(n))


def test_epochs_and_seeds_differ():
    config = TrainConfig(batch_size=4)
    batches = take(TEXTS, config, 40)
    assert batches[:20] != batches[20:]
    assert batches[:20] != take(TEXTS, replace(config, seed=1), 20)


def test_a_batch_holds_texts_of_like_length_in_no_order_of_length():
    texts = ["x" * i for i in np.random.default_rng(0).permutation(400)]
    batches = take(texts, TrainConfig(batch_size=10), 40)
    lengths = [[len(texts[row]) for row in batch] for batch in batches]
    assert max(max(row) - min(row) for row in lengths) < 10
    starts = [row[0] for row in lengths]
    assert starts != sorted(starts)


def test_the_learning_rate_rises_then_falls_in_lines():
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=1.0, final_lr_fraction=0.2)
    rates = [learning_rate(step, config) for step in range(110)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(np.diff(rates[10:]), -0.8 / 100)
    assert rates[10] == max(rates) == 1.0
    assert rates[-1] == pytest.approx(0.2 + 0.8 / 100)


def test_without_warm_up_the_learning_rate_starts_at_its_peak():
    config = TrainConfig(steps=10, warmup_steps=0, learning_rate=0.5)
    assert learning_rate(0, config) == 0.5


@pytest.mark.parametrize("tokens", [1, 128, 300])  # 128 are taken at a time
def test_token_nll_is_cross_entropy_forward_and_backward(tokens):
    torch.manual_seed(0)
    head, ids = torch.randn(50, 16), torch.randint(50, (tokens,))
    weights = torch.rand(tokens)
    hidden = torch.randn(tokens, 16, requires_grad=True)
    nll = TokenNLL.apply(hidden, head, ids)
    (nll * weights).sum().backward()

    plain = hidden.detach().clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(plain @ head.T, ids, reduction="none")
    (expected * weights).sum().backward()
    torch.testing.assert_close(nll, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(hidden.grad, plain.grad, rtol=1e-4, atol=1e-5)


def test_token_nll_of_large_logits_is_finite():
    hidden = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    nll = TokenNLL.apply(hidden, torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 0]))
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
    words = frozen.tokenizer.convert_tokens_to_ids([f"corn{i}" for i in range(5)])
    assert ids.tolist() == [[words[0], end, -1, -1, -1], words]


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


def test_only_the_projector_and_its_scale_learn(frozen, config):
    names = {name for name, _ in frozen.new_bridge(config).named_parameters()}
    assert names == {"output_scale"} | {
        f"projector.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }
    assert not any(p.requires_grad for p in frozen.llm.parameters())


def test_the_held_out_loss_is_a_mean_over_tokens_whatever_the_batches(frozen, config):
    bridge = frozen.new_bridge(config)
    texts = TEXTS[:12]
    whole = held_out_loss(bridge, frozen, texts, replace(config, batch_size=12))
    parts = held_out_loss(bridge, frozen, texts, replace(config, batch_size=5))
    for key in ("held_out_matched", "held_out_none"):
        assert parts[key] == pytest.approx(whole[key], rel=1e-4)
    batch = frozen.batch(texts)
    assert whole["held_out_none"] == pytest.approx(frozen.nll(None, batch).mean().item(), rel=1e-4)


def test_the_metrics_are_cut_to_the_steps_that_count(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step": 2}\n{"st')
    training._keep_metrics(file, 1)
    assert file.read_text() == '{"step": 1}\n'
    assert list(tmp_path.iterdir()) == [file]


def test_training_goes_on_from_a_bridge(trained, config, tmp_path):
    more = replace(config, start_from=str(trained[1]), steps=1, learning_rate=0.0, held_out=16)
    train(TEXTS, more, tmp_path / "more", log=quiet)
    before, after = metrics(trained[1])[-1], metrics(tmp_path / "more")[-1]
    assert after["held_out_matched"] == pytest.approx(before["held_out_matched"], abs=0.05)
    assert after["held_out_matched"] < before["held_out_none"] - 0.5


def test_a_bridge_of_another_size_is_no_start(trained, config, tmp_path):
    other = replace(config, start_from=str(trained[1]), soft_tokens=3)
    with pytest.raises(UserError, match="other models or sizes"):
        train(TEXTS, other, tmp_path / "other", log=quiet)
