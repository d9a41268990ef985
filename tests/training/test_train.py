"""Training a bridge between tiny random models: it learns."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import HIDDEN
from tiny_training import TEXTS, curve, last_state, made_texts, metrics, quiet

from smotext_ray.errors import UserError
from smotext_ray.models.bridge import Bridge
from smotext_ray.models.encoder import Encoder
from smotext_ray.models.style import style_of
from smotext_ray.training import steps
from smotext_ray.training import train as training
from smotext_ray.training.frozen import FrozenModels
from smotext_ray.training.held_out import held_out_loss
from smotext_ray.training.objectives import UNTOLD, Paraphrase
from smotext_ray.training.state import alone_in, keep_metrics
from smotext_ray.training.steps import gradient_step, rate_fraction
from smotext_ray.training.train import train
from smotext_ray.training.workers import Workers


def test_the_loss_falls(trained):
    losses = [line["loss"] for line in metrics(trained[1])]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_the_vector_is_read(config, tmp_path, monkeypatch):
    # At the rates of tiny models, styles would learn most of such short texts before the vector.
    monkeypatch.setattr(steps, "STYLE_RATE", 1.0)
    train(TEXTS, config, tmp_path, log=quiet)
    last = metrics(tmp_path)[-1]
    assert last["held_out_matched"] < last["held_out_shuffled"] - 0.5
    assert last["held_out_matched"] < last["held_out_none"]


def test_every_step_has_a_line_and_every_eval_its_held_out_losses(trained, config):
    lines = metrics(trained[1])
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert [line["step"] for line in lines if "held_out_matched" in line] == [30, 60]
    assert [line["lr"] for line in lines] == [1e-2 * rate_fraction(step, 2) for step in range(60)]
    assert all(line["gradient_norm"] > 0 and 0 <= line["padding"] < 0.5 for line in lines)
    assert np.mean([line["tokens"] for line in lines]) == pytest.approx(32, rel=0.2)
    seconds = json.loads((trained[1] / "metrics.jsonl").read_text().splitlines()[-1])
    assert seconds["tokens_per_second"] > 0


def test_the_llm_alone_is_measured_once_and_texts_by_their_length(trained, config, monkeypatch):
    first, second = (line for line in metrics(trained[1]) if "held_out_none" in line)
    assert first["held_out_none"] == second["held_out_none"]
    assert second["held_out_matched_short"] == second["held_out_matched"]  # none is longer
    assert "held_out_matched_long" not in second


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
    monkeypatch.setattr(
        training,
        "held_out_loss",
        lambda *_: {"held_out_matched": next(losses), "held_out_none": 5.0},
    )
    config = replace(config, steps=40, eval_every=10, save_minutes=1e9)
    saved = []

    def log(line):
        if line.startswith("step 20 "):
            saved.append((tmp_path / "bridge.safetensors").read_bytes())
        if line.startswith("step 30 "):
            raise Killed

    with pytest.raises(Killed):
        train(TEXTS, replace(config, steps=20), tmp_path, log=log)
        train(TEXTS, config, tmp_path, log=log)
    bridge = train(TEXTS, config, tmp_path, log=quiet)
    assert (tmp_path / "bridge.safetensors").read_bytes() == saved[0]
    state = last_state(tmp_path)
    assert (state["step"], state["best"]) == (40, 1.0)
    assert not torch.equal(
        state["average"]["bridge.projector.0.bias"].bfloat16().float(),
        bridge.state_dict()["projector.0.bias"],
    )


def test_the_saved_bridge_is_of_averaged_weights(trained):
    bridge, state = trained[0].state_dict(), last_state(trained[1])
    averaged = state["average"]["bridge.projector.0.weight"].bfloat16().float()
    assert torch.equal(bridge["projector.0.weight"], averaged)
    last = state["learned"]["bridge.projector.0.weight"].bfloat16().float()
    assert not torch.equal(bridge["projector.0.weight"], last)


def test_the_state_is_saved_with_all_precision(trained):
    bridge, output = trained
    assert last_state(output)["step"] == 60
    for kind in ("learned", "average"):
        for name, tensor in last_state(output)[kind].items():
            name = name.removeprefix("bridge.")
            assert tensor.dtype == torch.float32, name
            assert tensor.shape == bridge.state_dict()[name].shape
    moments = last_state(output)["optimizer"]["state"].values()
    assert all(tensor.dtype == torch.float32 for one in moments for tensor in one.values())


class Killed(Exception):
    pass


def test_two_trainings_do_not_share_an_output(trained, config):
    with (
        alone_in(trained[1], Workers()),
        pytest.raises(UserError, match="Another process is training"),
    ):
        train(TEXTS, config, trained[1], log=quiet)


def test_a_text_that_is_too_long_is_left_out_whole(config, tmp_path):
    """A text that is cut teaches no end, and its embedding is of the whole."""
    seen, lines = [], []
    texts = [*TEXTS, "corn0 " * 6, "corn1 " * 40]

    class Watched(Paraphrase):
        def batch(self, rows, embeddings):
            seen.extend(rows.tolist())
            return super().batch(rows, embeddings)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "Paraphrase", Watched)
        train(texts, replace(config, steps=40, held_out=40), tmp_path, log=lines.append)
    assert lines[0] == "2 of 82 texts have more than 6 tokens and are skipped"
    assert set(seen) == set(range(80))
    with pytest.raises(UserError, match="Too few texts have at most 1 tokens"):
        train(TEXTS, replace(config, max_text_tokens=1), tmp_path / "none", log=quiet)


def test_held_out_texts_of_their_own_are_never_trained_on(config, tmp_path):
    seen, measured = [], []
    held_out = made_texts(40)[20:]

    class Watched(Paraphrase):
        def batch(self, rows, embeddings):
            (seen if torch.is_grad_enabled() else measured).extend(rows.tolist())
            return super().batch(rows, embeddings)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "Paraphrase", Watched)
        train(TEXTS, replace(config, steps=30), tmp_path, held_out=held_out, log=quiet)
    assert set(seen) == set(range(80))
    assert len(measured) == 16 and set(measured) < set(range(80, 100))
    with pytest.raises(UserError, match="with other texts"):
        train(TEXTS, replace(config, steps=30), tmp_path, held_out=held_out[1:], log=quiet)


def test_the_layers_of_lora_learn_at_a_rate_of_their_own(config, tmp_path):
    config = replace(config, steps=2, warmup_steps=0, lora_rank=2)
    train(TEXTS, replace(config, lora_learning_rate=0.0), tmp_path / "frozen", log=quiet)
    train(TEXTS, config, tmp_path / "learning", log=quiet)
    name = "adapter.weights.1"  # B of the first layer
    assert not last_state(tmp_path / "frozen")["learned"][name].any()
    assert last_state(tmp_path / "learning")["learned"][name].any()


def test_an_outlying_gradient_is_scaled_down_to_twice_the_usual_norm():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    loss = (weight * torch.tensor([30.0, 40.0])).sum()[None]
    found = gradient_step(optimizer, [loss], Workers(), limit=5.0)
    assert found == (0.0, 50.0)
    torch.testing.assert_close(weight.detach(), torch.tensor([-3.0, -4.0]))
    # A worker that has no batch of a step learns nothing by itself, and does not fail.
    optimizer.zero_grad()
    assert weight.grad is None


def test_the_texts_are_embedded_once(config, tmp_path, monkeypatch):
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
        "previous_training_state.pt",
        "training_state.pt",
    }


def test_too_few_texts_are_refused_before_anything_is_written(config, tmp_path):
    with pytest.raises(UserError, match=r"more than the 16 held-out texts, but there are 16"):
        train(TEXTS[:16], config, tmp_path / "bridge", log=quiet)
    assert not (tmp_path / "bridge").exists()


def test_the_rate_rises_in_a_line_stays_and_falls_by_a_root():
    np.testing.assert_allclose(
        [rate_fraction(step, 10) for step in range(12)], [*np.arange(1, 11) / 10, 1, 1]
    )
    falling = [rate_fraction(step, 10, (100, 16)) for step in range(100, 116)]
    assert falling[0] == 1 and falling[4] == 0.5 and falling[9] == 0.25
    assert rate_fraction(0, 0) == 1  # without a warm-up


@pytest.fixture
def frozen(config) -> FrozenModels:
    models = FrozenModels(config)
    models.llm.float()
    return models


def test_the_held_out_loss_is_a_mean_over_tokens_whatever_the_batches(frozen, config):
    bridge = frozen.new_bridge(config)
    texts = TEXTS[:11]
    rows, embeddings = np.arange(11), frozen.encoder.encode(texts)
    paraphrase = Paraphrase(frozen, texts)
    whole = held_out_loss(bridge, paraphrase, rows, embeddings, 1000)
    parts = held_out_loss(bridge, paraphrase, rows, embeddings, 12)
    assert parts == pytest.approx(whole, rel=1e-4)
    batch = frozen.batch(texts)
    assert whole["held_out_none"] == pytest.approx(frozen.nll(None, batch).mean().item(), rel=1e-4)


def test_the_held_out_loss_is_told_by_length_in_words(frozen, config, monkeypatch):
    monkeypatch.setattr("smotext_ray.training.held_out.LAST_WORDS", (1, 3))
    bridge = frozen.new_bridge(config)
    texts = ["corn0", "ship1 ship1", "gold0 gold1 gold2", "ship0 ship1 ship0 ship1"]
    embeddings = frozen.encoder.encode(texts)
    paraphrase = Paraphrase(frozen, texts)
    found = held_out_loss(bridge, paraphrase, np.arange(4), embeddings, 1000, kinds=["matched"])
    assert "held_out_none" not in found and "held_out_shuffled" not in found
    for name, rows in (("short", [0]), ("medium", [1, 2]), ("long", [3])):
        batch = paraphrase.batch(np.array(rows), embeddings[rows])
        alone = paraphrase.nll(bridge, batch, batch.embeddings).mean().item()
        assert found[f"held_out_matched_{name}"] == pytest.approx(alone, rel=1e-4)


def test_styles_start_as_no_ops_on_a_bridge_without_them(config, trained, tmp_path):
    without = tmp_path / "without"
    shutil.copytree(trained[1], without)
    for state in without.glob("*training_state.pt"):
        state.unlink()
    old = Bridge(replace(trained[0].config, has_style=False))
    old.load_state_dict({k: v for k, v in trained[0].state_dict().items() if k != "style"})
    old.save_pretrained(without)
    start = FrozenModels(config).new_bridge(replace(config, start_from=str(without)))
    assert start.config.has_style and not start.style.any()
    for name, weight in old.state_dict().items():
        torch.testing.assert_close(start.state_dict()[name], weight, rtol=0.01, atol=0.01)


def test_most_texts_are_trained_with_their_style(frozen, config):
    bridge = frozen.new_bridge(config)
    paraphrase = Paraphrase(frozen, TEXTS[: UNTOLD + 1])
    rows = np.arange(UNTOLD + 1)
    batch = paraphrase.batch(rows, frozen.encoder.encode(TEXTS[: UNTOLD + 1]))
    lengths = [len(ids) for ids in frozen.tokenizer(TEXTS[: UNTOLD + 1])["input_ids"]]
    np.testing.assert_array_equal(batch.styles, style_of(TEXTS[: UNTOLD + 1], lengths))
    paraphrase.loss(bridge, batch).sum().backward()
    used = batch.styles[1:UNTOLD].any(0)  # the first and the last are the untold ones
    assert (bridge.style.grad.any(1) == used.to(bridge.style.device)).all()
    before = paraphrase.nll(bridge, batch, batch.embeddings)
    torch.nn.init.normal_(bridge.style)
    after = paraphrase.loss(bridge, batch)
    untold = torch.from_numpy(rows % UNTOLD == 0).repeat_interleave((batch.ids.cpu() >= 0).sum(1))
    torch.testing.assert_close(after[untold], before[untold], rtol=1e-4, atol=1e-4)
    assert (after[~untold] - before[~untold]).abs().max() > 0.01


def test_shuffled_every_text_has_the_embedding_of_another(frozen, config):
    bridge = frozen.new_bridge(config)
    texts = ["corn0", "ship1 ship1 ship1"]
    rows, embeddings = np.arange(2), frozen.encoder.encode(texts)
    paraphrase = Paraphrase(frozen, texts)
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


def test_a_training_starts_from_a_bridge(trained, config, tmp_path):
    more = replace(config, start_from=str(trained[1]), steps=1, learning_rate=0.0, held_out=16)
    train(TEXTS, more, tmp_path / "more", log=quiet)
    before, after = min(curve(trained[1], "held_out_matched")), metrics(tmp_path / "more")[-1]
    assert after["held_out_matched"] == pytest.approx(before, abs=0.05)
    assert after["held_out_matched"] < after["held_out_none"] - 0.5


def test_it_starts_in_all_precision_where_the_state_is_at_hand(trained, config, tmp_path):
    exact = last_state(trained[1])["average"]["bridge.projector.0.weight"]
    start = FrozenModels(config).new_bridge(replace(config, start_from=str(trained[1])))
    assert torch.equal(start.state_dict()["projector.0.weight"].cpu(), exact)
    for name in ("config.json", "bridge.safetensors"):
        (tmp_path / name).write_bytes((trained[1] / name).read_bytes())
    start = FrozenModels(config).new_bridge(replace(config, start_from=str(tmp_path)))
    rounded = start.state_dict()["projector.0.weight"].cpu()
    assert torch.equal(rounded, exact.bfloat16().float()) and not torch.equal(rounded, exact)


def test_a_bridge_of_another_size_is_no_start(trained, config, tmp_path):
    other = replace(config, start_from=str(trained[1]), soft_tokens=3)
    with pytest.raises(UserError, match="other models or sizes"):
        train(TEXTS, other, tmp_path / "other", log=quiet)
