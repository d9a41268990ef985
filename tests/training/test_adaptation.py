"""Adapting a bridge between tiny random models to texts of another kind."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import HIDDEN, WORDS
from tiny_training import quiet

from smotext_ray.models.bridge import Bridge
from smotext_ray.models.encoder import Encoder
from smotext_ray.models.files import DEFAULT_BRIDGE
from smotext_ray.training import adapt as adapting
from smotext_ray.training.adapt import Adaptation, adapt, rate_at
from smotext_ray.training.embeddings import GivenEmbeddings
from smotext_ray.training.frozen import FrozenModels
from smotext_ray.training.generation import _chosen, generate

# Pairs of words that no text of the training has: its topics have two other words each.
OTHERS = [word for word in WORDS if int(word[-1]) > 1]


@pytest.fixture(scope="module")
def start(config, trained):
    """The settings of an adaptation of the trained bridge."""
    return replace(config, start_from=str(trained[1]), tokens_per_step=64)


@pytest.fixture(scope="module")
def encoder(config):
    return Encoder(config.encoder, device="cpu")


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(1)
    return [" ".join(rng.choice(OTHERS, size=rng.integers(2, 5))) for _ in range(200)]


@pytest.fixture(scope="module")
def adapted(start, encoder, texts, tmp_path_factory):
    """An adaptation that ends with its epochs, and its directory."""
    output, x = tmp_path_factory.mktemp("adapted") / "bridge", encoder.encode(texts)
    with pytest.MonkeyPatch.context() as patch:
        # Random models have nothing to forget, but much to learn.
        patch.setattr(adapting, "EPOCHS", 15)
        patch.setattr(adapting, "STEPS", 300)
        done = adapt(texts, x, start, encoder, 5, output, max_tokens=5, log=quiet)
    return done, output


def test_the_held_out_texts_come_out_better(adapted, trained):
    done, output = adapted
    assert done.is_kept and done.cosine_after > done.cosine_before + 0.02
    weights = Bridge.from_pretrained(output).state_dict()
    assert not torch.equal(
        weights["projector.0.weight"], trained[0].state_dict()["projector.0.weight"]
    )


def test_the_saved_bridge_is_the_one_that_was_judged(adapted, start, encoder, texts):
    done, output = adapted
    frozen = FrozenModels(start)
    bridge = Bridge.from_pretrained(output).to(frozen.device)
    own = adapting._whole(texts, frozen)
    held_out, _ = adapting.split_held_out(len(own), done.held_out, start.seed)
    x = encoder.encode([texts[row] for row in own])[held_out]
    again = adapting.greedy_cosine(frozen, bridge, x, encoder, 5)
    assert again == pytest.approx(done.cosine_after, abs=0.03)  # the file is in bfloat16


def test_no_text_is_seen_more_often_than_the_epochs_say(adapted, texts):
    done, _ = adapted
    assert done.texts == len(set(texts)) and done.held_out == done.texts // 4
    assert done.steps <= 310


def test_a_step_has_own_and_replayed_texts_and_no_held_out_one(
    start, encoder, texts, tmp_path, monkeypatch
):
    batches, sets = [], []

    class Noted(adapting.Paraphrase):
        def __init__(self, frozen, given):
            sets.append(given)
            super().__init__(frozen, given)

    def step(state, given, *rest):
        batches.append(np.concatenate(given))
        state.step += 1
        return {"loss": 1.0}

    monkeypatch.setattr(adapting, "Paraphrase", Noted)
    monkeypatch.setattr(adapting, "take_step", step)
    x = encoder.encode(texts)
    done = adapt(texts, x, start, encoder, 5, tmp_path / "bridge", max_tokens=5, log=quiet)
    (given,) = sets
    own = done.texts
    assert len(given) == own + done.replayed and done.replayed > 0
    assert set(given[:own]) == set(texts)
    held_out, _ = adapting.split_held_out(own, done.held_out, start.seed)
    seen = np.concatenate(batches)
    assert set(seen[seen < own]) == set(range(own)) - set(held_out)
    tokens = np.array([len(text.split()) + 1 for text in given])[seen]
    assert tokens[seen >= own].sum() / tokens.sum() == pytest.approx(adapting.REPLAY, abs=0.08)


def test_texts_to_replay_are_read_if_the_bridge_has_some(
    start, trained, encoder, texts, tmp_path, monkeypatch
):
    bridge = shutil.copytree(trained[1], tmp_path / "start")
    lines = [f"gold6 gold7 corn{number}" for number in range(8)]
    (bridge / "replay.txt").write_text("\n".join([*lines, " ".join(OTHERS[:9])]) + "\n")
    monkeypatch.setattr(adapting, "generate", lambda _, __, points, *___: ["corn0"] * len(points))
    start = replace(start, start_from=str(bridge))
    x = encoder.encode(texts)
    done = adapt(texts, x, start, encoder, 5, tmp_path / "bridge", max_tokens=5, log=quiet)
    assert done.replayed == 8  # the long one is left out
    monkeypatch.setattr(adapting, "REPLAYED_PER_MINUTE", 1)
    done = adapt(texts, x, start, encoder, 5, tmp_path / "bridge", max_tokens=5, log=quiet)
    assert 3 <= done.replayed <= 5


def test_the_default_bridge_has_texts_to_replay():
    texts = (DEFAULT_BRIDGE / adapting.REPLAY_FILE).read_text(encoding="utf-8").splitlines()
    assert len(texts) == len(set(texts)) > 300
    assert all(text == " ".join(text.split()) and text.isprintable() for text in texts)
    assert 10 < np.mean([len(text.split()) for text in texts]) < 30


def test_a_bridge_that_became_worse_is_not_saved(start, encoder, texts, tmp_path, monkeypatch):
    cosines = iter([0.5, *[0.4] * 10])
    monkeypatch.setattr(adapting, "greedy_cosine", lambda *_, **__: next(cosines))
    x, output = encoder.encode(texts), tmp_path / "bridge"
    done = adapt(texts, x, start, encoder, 5, output, max_tokens=5, log=quiet)
    assert not done.is_kept and not output.exists()
    assert (done.cosine_before, done.cosine_after) == (0.5, 0.4)


def test_the_best_bridge_is_saved_and_not_the_last(start, encoder, texts, tmp_path, monkeypatch):
    cosines = iter([0.5, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6])
    saved = []
    monkeypatch.setattr(adapting, "greedy_cosine", lambda *_, **__: next(cosines))
    monkeypatch.setattr(adapting, "save_bridge", lambda output, *_: saved.append(output))
    x = encoder.encode(texts)
    done = adapt(texts, x, start, encoder, 5, tmp_path / "bridge", max_tokens=5, log=quiet)
    assert done.cosine_after == 0.7 and len(saved) == 1


def test_it_ends_in_time(start, encoder, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(adapting, "EPOCHS", 10_000)
    x, began = encoder.encode(texts), time.monotonic()
    done = adapt(texts, x, start, encoder, 0.1, tmp_path / "bridge", max_tokens=5, log=quiet)
    assert done.steps > 1 and time.monotonic() - began < 60


def test_of_few_or_long_texts_nothing_is_learned(start, encoder, texts, tmp_path):
    long = [" ".join(OTHERS[:9])] * 10 + texts[:20]
    x, output = encoder.encode(long), tmp_path / "bridge"
    done = adapt(long, x, start, encoder, 5, output, max_tokens=5, log=quiet)
    assert done == Adaptation(texts=len(set(texts[:20]))) and not done.is_kept
    assert not output.exists()


def test_the_rate_rises_stays_and_falls():
    assert rate_at(0.0) == 0.01 and rate_at(0.05) == pytest.approx(0.51)
    assert {rate_at(share) for share in (0.1, 0.4, 0.79)} == {1.0}
    assert rate_at(0.8) == 1.0 and 0 < rate_at(0.999) < 0.05


def test_greedy_texts_are_those_of_transformers(start, encoder, texts):
    frozen = FrozenModels(start)
    bridge = frozen.new_bridge(start)
    x = encoder.encode(texts[:70])
    prompts = bridge.prompt_embeds(torch.from_numpy(x))
    ids = frozen.llm.generate(
        inputs_embeds=prompts,
        attention_mask=torch.ones(prompts.shape[:2], dtype=torch.long),
        max_new_tokens=12,
        do_sample=False,
        pad_token_id=frozen.tokenizer.eos_token_id,
    )
    expected = frozen.tokenizer.batch_decode(ids, skip_special_tokens=True)
    lengths = {len(text.split()) for text in expected}
    assert len(lengths) > 2  # some end before others, and leave the batch
    assert generate(frozen, bridge, x, 12) == [text.strip() for text in expected]


def test_sampled_texts_differ_and_are_of_likely_tokens(start, encoder, texts):
    frozen = FrozenModels(start)
    bridge = frozen.new_bridge(start)
    x = encoder.encode(texts[:20])
    assert generate(frozen, bridge, x, 5, 1.0) != generate(frozen, bridge, x, 5, 1.0)
    logits = torch.tensor([[0.90, 0.06, 0.04]]).log().repeat(2000, 1)
    counts = torch.bincount(_chosen(logits, 1.0), minlength=3) / 2000
    assert counts[2] == 0 and counts[1] == pytest.approx(0.06 / 0.96, abs=0.02)


def test_given_embeddings_are_given_back():
    x = np.random.default_rng(0).normal(size=(4, HIDDEN)).astype(np.float32)
    given = GivenEmbeddings(x)
    given.prepare(np.arange(4))
    assert np.array_equal(given[np.array([2, 0])], x[[2, 0]]) and len(given) == 4
