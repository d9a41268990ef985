"""Training a bridge between tiny random models: it learns, and a kill changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import HIDDEN
from tiny_training import TEXTS, curve, last_state, metrics, quiet, tiny_config

from smotext_ray.bridge import train as training
from smotext_ray.bridge.frozen import FrozenModels
from smotext_ray.bridge.objectives import Paraphrase
from smotext_ray.bridge.projector import Bridge
from smotext_ray.bridge.train import TrainConfig, held_out_loss, learning_rate, train
from smotext_ray.bridge.training_state import keep_metrics
from smotext_ray.encoder import Encoder
from smotext_ray.errors import UserError


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    return tiny_config(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """An uninterrupted training: its bridge and its directory."""
    output = tmp_path_factory.mktemp("bridge")
    return train(TEXTS, config, output, log=quiet), output


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


def test_the_saved_bridge_names_its_models_and_is_returned(trained, config):
    bridge, output = trained
    loaded = Bridge.from_pretrained(output)
    for name, tensor in bridge.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert (loaded.config.encoder, loaded.config.llm) == (config.encoder, config.llm)
    assert len(loaded.config.encoder_sha256) == len(loaded.config.llm_sha256) == 64
    assert (loaded.config.encoder_dim, loaded.config.llm_hidden_size) == (HIDDEN, HIDDEN)
    assert loaded.config.input_scale == math.sqrt(HIDDEN)


def test_the_saved_bridge_is_the_best_one_and_the_state_the_last(config, tmp_path, monkeypatch):
    """Held-out losses 3, 1, 2, 4: the second bridge stays, over a kill between 2 and 4."""
    losses = iter((3.0, 1.0, 2.0, 2.0, 4.0))
    monkeypatch.setattr(training, "held_out_loss", lambda *_: {"held_out_matched": next(losses)})
    config = replace(config, steps=40, eval_every=10, save_every=20)
    saved = []

    def log(line):
        if line.startswith("step 20 "):
            saved.append((tmp_path / "bridge.safetensors").read_bytes())
        killed_at(30)(line)

    with pytest.raises(Killed):
        train(TEXTS, config, tmp_path, log=log)
    bridge = train(TEXTS, config, tmp_path, log=quiet)
    assert (tmp_path / "bridge.safetensors").read_bytes() == saved[0]
    state = last_state(tmp_path)
    assert (state["step"], state["best"]) == (40, 1.0)
    assert not torch.equal(
        state["learned"]["bridge.projector.0.bias"].bfloat16().float(),
        bridge.state_dict()["projector.0.bias"],
    )


def test_the_state_is_saved_with_all_precision(trained):
    bridge, output = trained
    assert last_state(output)["step"] == 60
    for name, tensor in last_state(output)["learned"].items():
        name = name.removeprefix("bridge.")
        assert tensor.dtype == torch.float32, name
        assert tensor.shape == bridge.state_dict()[name].shape


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
        file.write(b"half")
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
    """Bit by bit: the best bridge, the last one with its optimizer, and every figure."""
    one, other = last_state(output), last_state(trained[1])
    for name, tensor in other["learned"].items():
        assert torch.equal(one["learned"][name], tensor), name
    for number, moments in other["optimizer"]["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(one["optimizer"]["state"][number][name], tensor), (number, name)
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


@pytest.mark.parametrize("texts", [TEXTS[1:], [*TEXTS[:-1], "corn0"], TEXTS[::-1]])
def test_a_training_does_not_go_on_with_other_texts(trained, config, texts):
    with pytest.raises(UserError, match="with other texts"):
        train(texts, config, trained[1], log=quiet)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"held_out": 1}, "held_out is 1; it must be at least 2"),
        ({"accumulate": 0}, "accumulate is 0; it must be at least 1"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"eval_every": 0}, "eval_every is 0"),
        ({"lora_rank": -1}, "lora_rank is -1; it must be at least 0"),
        ({"stage": 3}, "stage is 3"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        TrainConfig(**change)


def test_accumulated_batches_learn_as_one_large_one(trained, config, tmp_path):
    train(TEXTS, replace(config, batch_size=2, accumulate=4), tmp_path, log=quiet)
    # The sums are rounded otherwise, which a training makes more of with each step, on one kind
    # of processor more than on another.
    ours, theirs = np.array(curve(tmp_path)), np.array(curve(trained[1]))
    np.testing.assert_allclose(ours[:6], theirs[:6], rtol=1e-4)
    np.testing.assert_allclose(ours[-20:].mean(), theirs[-20:].mean(), rtol=0.03)
    for key in ("held_out_matched", "held_out_shuffled"):
        np.testing.assert_allclose(curve(tmp_path, key), curve(trained[1], key), rtol=0.05)


def test_a_training_goes_on_with_its_step_split_otherwise(trained, config, tmp_path):
    with pytest.raises(Killed):
        train(TEXTS, config, tmp_path, log=killed_at(30))
    train(TEXTS, replace(config, batch_size=4, accumulate=2), tmp_path, log=quiet)
    assert curve(tmp_path)[:20] == curve(trained[1])[:20]
    np.testing.assert_allclose(curve(tmp_path), curve(trained[1]), rtol=0.03)
    with pytest.raises(UserError, match="other texts a step"):
        train(TEXTS, replace(config, accumulate=2), tmp_path, log=quiet)


def test_the_texts_are_embedded_once(trained, config, tmp_path, monkeypatch):
    cache, one, other = tmp_path / "cache", tmp_path / "one", tmp_path / "other"
    short = replace(config, steps=2)
    train(TEXTS, short, one, cache=cache, log=quiet)
    monkeypatch.setattr(Encoder, "__init__", None)
    train(TEXTS, short, other, cache=cache, log=quiet)
    assert metrics(one) == metrics(other)
    assert {file.name for file in other.iterdir()} == {
        "bridge.safetensors",
        "config.json",
        "metrics.jsonl",
        "training_state.pt",
    }
    assert curve(one) == curve(trained[1])[:2]


def test_too_few_texts_are_refused_before_anything_is_written(config, tmp_path):
    with pytest.raises(UserError, match=r"at least 24 texts .* there are 23"):
        train(TEXTS[:23], config, tmp_path / "bridge", log=quiet)
    assert not (tmp_path / "bridge").exists()


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


@pytest.fixture
def frozen(config) -> FrozenModels:
    models = FrozenModels(config)
    models.llm.float()
    return models


def test_the_held_out_loss_is_a_mean_over_tokens_whatever_the_batches(frozen, config):
    bridge = frozen.new_bridge(config)
    texts = TEXTS[:11]
    rows, embeddings = np.arange(11), frozen.encoder.encode(texts)
    paraphrase = Paraphrase(frozen, texts, 0)
    whole = held_out_loss(bridge, paraphrase, rows, embeddings, 11)
    parts = held_out_loss(bridge, paraphrase, rows, embeddings, 5)  # the last batch is of one text
    assert parts == pytest.approx(whole, rel=1e-4)
    batch = frozen.batch(texts)
    assert whole["held_out_none"] == pytest.approx(frozen.nll(None, batch).mean().item(), rel=1e-4)


def test_shuffled_every_text_has_the_embedding_of_another(frozen, config):
    bridge = frozen.new_bridge(config)
    texts = ["corn0", "ship1 ship1 ship1"]
    rows, embeddings = np.arange(2), frozen.encoder.encode(texts)
    paraphrase = Paraphrase(frozen, texts, 0)
    found = held_out_loss(bridge, paraphrase, rows, embeddings, 1)
    expected = held_out_loss(bridge, paraphrase, rows, embeddings[::-1], 2)
    assert found["held_out_shuffled"] == pytest.approx(expected["held_out_matched"], rel=1e-4)
    assert found["held_out_shuffled"] != pytest.approx(found["held_out_matched"], rel=1e-3)


def test_the_metrics_are_cut_to_the_steps_that_count(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step": 2}\n{"st')
    keep_metrics(tmp_path, 1)
    assert file.read_text() == '{"step": 1}\n'
    assert list(tmp_path.iterdir()) == [file]


def test_training_goes_on_from_a_bridge(trained, config, tmp_path):
    more = replace(config, start_from=str(trained[1]), steps=1, learning_rate=0.0, held_out=16)
    train(TEXTS, more, tmp_path / "more", log=quiet)
    before, after = min(curve(trained[1], "held_out_matched")), metrics(tmp_path / "more")[-1]
    assert after["held_out_matched"] == pytest.approx(before, abs=0.05)
    assert after["held_out_matched"] < after["held_out_none"] - 0.5


def test_a_bridge_of_another_size_is_no_start(trained, config, tmp_path):
    other = replace(config, start_from=str(trained[1]), soft_tokens=3)
    with pytest.raises(UserError, match="other models or sizes"):
        train(TEXTS, other, tmp_path / "other", log=quiet)
