"""What a training leaves on disk: its state, its metrics, and the best bridge so far.

Only the first worker writes; every worker reads the state.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from smotext_ray.bridge.adapter import Adapter
from smotext_ray.bridge.files import whole_file
from smotext_ray.bridge.projector import Bridge
from smotext_ray.errors import UserError

if TYPE_CHECKING:
    from smotext_ray.bridge.train import TrainConfig

STATE_FILE = "training_state.pt"
METRICS_FILE = "metrics.jsonl"


def identity(config: TrainConfig, bridge: Bridge, texts_sha256: str, workers: int) -> dict:
    """What two trainings must share for one to go on with the other's state.

    How a step's texts are split over workers and accumulated is none of it: a training
    that began on one GPU can go on with two and half the batch size.
    """
    settings = asdict(config)
    share = settings.pop("batch_size") * settings.pop("accumulate")
    settings["texts_a_step"] = share * workers
    return {"settings": settings, "models": asdict(bridge.config), "texts": texts_sha256}


def resume(
    output: Path, this: dict, learned: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Load the last state where there is one.

    Parameters
    ----------
    output : Path
    this : dict
        Identity of the training that is about to go on.
    learned : Module
        All that learns.
    optimizer : Optimizer

    Returns
    -------
    step : int
        Steps done.
    best : float
        Least held-out loss so far.

    Raises
    ------
    UserError
        If the state is that of another training.
    """
    file = output / STATE_FILE
    if not file.exists():
        return 0, float("inf")
    state = torch.load(file, weights_only=True)
    then = state.get("identity", {})
    for part, what in (
        ("settings", "settings, or other texts a step"),
        ("models", "models"),
        ("texts", "texts"),
    ):
        if then.get(part) != this[part]:
            raise UserError(f"{output} holds a training with other {what}; name another --output.")
    learned.load_state_dict(state["learned"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["best"]


def save_state(
    output: Path,
    this: dict,
    learned: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    best: float,
) -> None:
    """Write the state after ``step`` steps; a kill while writing leaves the old one."""
    state = {
        "identity": this,
        "step": step,
        "best": best,
        "learned": learned.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with whole_file(output / STATE_FILE) as handle:
        torch.save(state, handle)


def save_bridge(output: Path, bridge: Bridge, adapter: Adapter) -> None:
    """Put a bridge in the place of the one in ``output``."""
    partial = output / ".bridge"
    bridge.save_pretrained(partial)
    adapter.save(partial)
    for file in partial.iterdir():
        os.replace(file, output / file.name)
    partial.rmdir()


def keep_metrics(output: Path, steps: int) -> None:
    """Drop the lines after the first ``steps``: those steps are taken again.

    A kill between two checkpoints leaves them, and may leave the last one half-written.
    """
    file = output / METRICS_FILE
    if file.exists():
        lines = file.read_bytes().splitlines(keepends=True)[:steps]
        with whole_file(file) as handle:
            handle.writelines(lines)


def append_metrics(output: Path, metrics: dict[str, Any]) -> None:
    """Add the line of one step."""
    with (output / METRICS_FILE).open("a") as file:
        file.write(json.dumps(metrics) + "\n")
