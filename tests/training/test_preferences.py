"""Stage 3: the text near a point becomes likelier than the one far from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from test_bridge_points import Copier
from tiny_models import HIDDEN
from tiny_training import TEXTS, curve, last_state, metrics, quiet
from torch import nn

from smotext_ray.api import loaded
from smotext_ray.cli.main import main
from smotext_ray.errors import UserError
from smotext_ray.models.encoder import Encoder
from smotext_ray.models.style import SIZE, style_of
from smotext_ray.training import train as training
from smotext_ray.training.average import Average
from smotext_ray.training.card import write_card
from smotext_ray.training.data import Preference
from smotext_ray.training.frozen import FrozenModels
from smotext_ray.training.held_out import greedy_cosine
from smotext_ray.training.preferences import BETA, NLL_WEIGHT, PreferenceLoss
from smotext_ray.training.train import train
from smotext_ray.training.workers import Workers

ROWS = np.arange(6)
UNKNOWN = np.zeros(SIZE, np.float32)


@pytest.fixture(scope="module")
def encoder(config):
    return Encoder(config.encoder, device="cpu")


@pytest.fixture(scope="module")
def preferences(encoder):
    """At the embedding of each text, that text rather than a farther one."""
    x = encoder.encode(TEXTS)
    others = np.argmin(x @ x.T, axis=1)
    styles = style_of(TEXTS, [len(text.split()) for text in TEXTS])
    return [Preference(TEXTS[i], TEXTS[o], x[i], styles[i]) for i, o in enumerate(others)]


@pytest.fixture(scope="module")
def config3(config, trained):
    """Stage 3 from a trained bridge."""
    start = str(trained[1])
    return replace(
        config,
        stage=3,
        start_from=start,
        steps=20,
        warmup_steps=0,
        eval_every=10,
        learning_rate=3e-4,
    )


class Trained:
    """A bridge with LoRA layers, and the loss of preferences under it."""

    def __init__(self, config, preferences) -> None:
        self.frozen = FrozenModels(config)
        self.bridge = self.frozen.new_bridge(config)
        learned = nn.ModuleDict({"bridge": self.bridge, "adapter": self.frozen.adapter})
        self.weights = list(learned.parameters())
        self.objective = PreferenceLoss(self.frozen, preferences, Average(learned))
        self.points = np.stack([one.point for one in preferences])

    def loss(self) -> torch.Tensor:
        batch = self.objective.batch(ROWS, self.points[ROWS])
        return self.objective.loss(self.bridge, batch)

    def log_likelihoods(self, texts, points) -> np.ndarray:
        """One text at a time; the texts of `ROWS`, with their styles."""
        styles = self.objective.styles[np.resize(ROWS, len(texts))]
        found = []
        with torch.no_grad():
            for text, point, style in zip(texts, points, styles, strict=True):
                batch = self.frozen.batch([text], point[None])
                prompt = self.bridge.prompt_embeds(batch.embeddings, torch.from_numpy(style)[None])
                found.append(-float(self.frozen.nll(prompt, batch).sum()))
        return np.array(found)


def test_the_loss_is_that_of_direct_preference_optimization(config3, preferences):
    model = Trained(replace(config3, lora_rank=2), preferences)
    some = preferences[: len(ROWS)]
    chosen, rejected = [one.chosen for one in some], [one.rejected for one in some]

    def both():
        return [model.log_likelihoods(texts, model.points[ROWS]) for texts in (chosen, rejected)]

    before = both()
    start = model.loss().detach().numpy()
    np.testing.assert_allclose(start, np.log(2) - NLL_WEIGHT * before[0], rtol=1e-4)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.weights:
            weight += 0.05 * torch.randn_like(weight)
    now = both()
    margin = (now[0] - before[0]) - (now[1] - before[1])
    assert np.abs(margin).max() > 1
    expected = np.log1p(np.exp(-BETA * margin)) - NLL_WEIGHT * now[0]
    np.testing.assert_allclose(model.loss().detach().numpy(), expected, rtol=1e-4)


def test_a_step_down_the_loss_widens_the_margin_and_leaves_the_reference(config3, preferences):
    model = Trained(config3, preferences)
    some = preferences[: len(ROWS)]
    texts = [one.chosen for one in some] + [one.rejected for one in some]
    points = np.concatenate([model.points[ROWS]] * 2)

    def margins():
        return np.subtract(*model.log_likelihoods(texts, points).reshape(2, -1))

    before = margins()
    for _ in range(2):
        losses = model.loss()
        gradients = torch.autograd.grad(losses.sum(), model.weights)
        with torch.no_grad():
            for weight, gradient in zip(model.weights, gradients, strict=True):
                weight -= 3e-3 * gradient
    assert (margins() > before).mean() > 0.8
    with model.objective._reference.in_place():
        np.testing.assert_allclose(margins(), before, atol=1e-4)


def test_lengths_are_those_of_the_longer_text(config3, encoder):
    point = encoder.encode(["corn0"])[0]
    pairs = [
        Preference("corn0", "ship0 ship1 corn0", point, UNKNOWN),
        Preference("corn0 corn1", "bank0", point, UNKNOWN),
    ]
    objective = Trained(config3, pairs).objective
    assert objective.tokens.tolist() == [4, 3]
    assert objective.positions.tolist() == [10, 8]  # two soft tokens, of two texts


def test_the_bridge_with_the_closest_greedy_texts_stays(config3, preferences, tmp_path):
    lines: list[str] = []
    train(preferences, config3, tmp_path / "bridge", log=lines.append)
    cosines = curve(tmp_path / "bridge", "held_out_cosine")
    assert len(cosines) == 3 and metrics(tmp_path / "bridge")[0]["step"] == 0
    assert lines[0] == f"before training: held_out_cosine {cosines[0]:.4g}"
    assert [line.split()[:2] for line in lines[1:]] == [["step", "10"], ["step", "20"]]
    assert max(cosines) == -last_state(tmp_path / "bridge")["best"]
    assert "held_out_matched" not in metrics(tmp_path / "bridge")[-1]


def test_a_bridge_that_gets_no_better_is_the_one_it_started_from(
    config3, trained, preferences, tmp_path, monkeypatch
):
    cosines = iter([0.5, 0.4, 0.3])
    monkeypatch.setattr(training, "greedy_cosine", lambda *_: next(cosines))
    kept = train(preferences, config3, tmp_path / "bridge", log=quiet)
    assert curve(tmp_path / "bridge", "held_out_cosine") == [0.5, 0.4, 0.3]
    card = write_card(tmp_path / "bridge").read_text()
    assert "The bridge is from step 0." in card and "| 20 | 0.30 |" in card
    for name, weight in trained[0].state_dict().items():
        torch.testing.assert_close(kept.state_dict()[name], weight)


def test_it_resumes_as_if_nothing_had_happened(config3, preferences, tmp_path):
    train(preferences, config3, tmp_path / "once", log=quiet)
    train(preferences, replace(config3, steps=7), tmp_path / "twice", log=quiet)
    train(preferences, config3, tmp_path / "twice", log=quiet)
    assert curve(tmp_path / "twice") == curve(tmp_path / "once")
    others = [one._replace(point=-one.point) for one in preferences]
    with pytest.raises(UserError, match="other texts"):
        train(others, config3, tmp_path / "once", log=quiet)


def test_another_start_is_another_training(config, config3, preferences, tmp_path):
    train(preferences, replace(config3, steps=2), tmp_path / "bridge", log=quiet)
    train(TEXTS, replace(config, steps=1, seed=5), tmp_path / "start", log=quiet)
    with pytest.raises(UserError, match="other models"):
        other = replace(config3, steps=4, start_from=str(tmp_path / "start"))
        train(preferences, other, tmp_path / "bridge", log=quiet)


def test_a_start_and_points_of_the_encoder_are_needed(config, config3, tmp_path):
    with pytest.raises(UserError, match="name it with --from"):
        replace(config, stage=3)
    wide = [Preference("corn0", "ship0", np.ones(HIDDEN + 1, np.float32), UNKNOWN)] * 40
    with pytest.raises(UserError, match=f"have {HIDDEN + 1} numbers, but the encoder's"):
        train(wide, config3, tmp_path / "bridge", log=quiet)


def test_workers_share_the_held_out_points(config3, preferences, encoder, monkeypatch):
    model = Trained(config3, preferences)
    given = (model.frozen, model.bridge, model.points[:5], encoder, 6)
    alone = greedy_cosine(*given)
    parts = []
    for rank in range(2):
        workers = Workers()
        workers.rank, workers.count = rank, 2
        monkeypatch.setattr(workers, "add_up", lambda *tensors: None)
        parts.append(greedy_cosine(*given, workers))
    assert sum(parts) == pytest.approx(alone)
    assert 0 < abs(parts[0]) < abs(alone)


def test_texts_to_points_to_a_bridge(config, trained, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(loaded, "encoder_of", lambda _: encoder)
    monkeypatch.setattr(loaded, "decoder_of", lambda _: Copier(["corn0", "ship0"], ["stop"] * 2))
    texts, points = tmp_path / "texts.txt", tmp_path / "points.parquet"
    texts.write_text("\n".join(TEXTS))
    models = [f"encoder.model={config.encoder}", f"decoder.model={config.llm}"]
    start = ["bridge", "points", f"--input={texts}", f"--bridge={trained[1]}", *models]
    assert main([*start, f"--output={points}", "--candidates=1"]) == 2
    assert main([*start, f"--output={points}", "--rows=30"]) == 0
    made = pq.read_table(points)
    assert set(made["text"].to_pylist()) == set(made["rejected"].to_pylist()) == {"corn0", "ship0"}
    learn = ["train-bridge", "--stage=3", f"--input={points}", "--max-text-tokens=6"]
    learn += [f"--encoder={config.encoder}", f"--llm={config.llm}", "--held-out=4", "--steps=1"]
    learn += [f"--output={tmp_path / 'bridge'}"]
    assert main(learn) == 2
    assert not (tmp_path / "bridge").exists()
    assert main([*learn, f"--from={trained[1]}"]) == 0
    assert (tmp_path / "bridge/bridge.safetensors").exists()
