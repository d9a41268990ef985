"""A training of seconds between the tiny random models, and what to compare of two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_models import WORDS, tiny_encoder, tiny_llm

from smotext_ray.training.config import TrainConfig


def made_texts(n: int) -> list[str]:
    """Texts of one to five words, all of one topic, which has two words."""
    rng = np.random.default_rng(0)
    topics = np.array(WORDS).reshape(4, 8)[:, :2]
    return [
        " ".join(rng.choice(topics[rng.integers(4)], size=rng.integers(1, 6))) for _ in range(n)
    ]


TEXTS = made_texts(80)


def tiny_config(directory: Path) -> TrainConfig:
    """Makes the models in ``directory``."""
    return TrainConfig(
        encoder=str(tiny_encoder(directory / "encoder")),
        llm=str(tiny_llm(directory / "llm")),
        soft_tokens=2,
        projector_hidden_size=64,
        max_text_tokens=6,  # five words and the end
        steps=60,
        decay_steps=0,
        tokens_per_step=32,
        batch_tokens=24,
        learning_rate=1e-2,
        warmup_steps=2,
        held_out=16,
        eval_every=30,
        save_minutes=0,  # at every step
    )


def quiet(line: str) -> None:
    """A log that nobody reads."""


def metrics(output: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl, without the speed, which no two trainings share."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lines]


def last_state(output: Path, name: str = "training_state.pt") -> dict[str, Any]:
    """What a state's file holds."""
    return torch.load(output / name, weights_only=True)


def curve(output: Path, key: str = "loss") -> list[float]:
    """A figure of every step that has it."""
    return [line[key] for line in metrics(output) if key in line]
