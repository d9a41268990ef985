"""What a training leaves on disk: its state, its metrics, and the best bridge so far.

Only the first worker writes; every worker reads the state.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from smotext_ray.errors import UserError
from smotext_ray.models.bridge import Bridge
from smotext_ray.models.bridge_config import WEIGHTS_FILE
from smotext_ray.models.lora import Adapter
from smotext_ray.training.average import Average
from smotext_ray.training.config import METRICS_FILE
from smotext_ray.training.workers import Workers
from smotext_ray.utils.files import whole_file

if TYPE_CHECKING:
    from smotext_ray.training.config import TrainConfig


STATE_FILE = "training_state.pt"  # of the steps at a constant rate, which can be prolonged
DECAY_FILE = "decay_state.pt"  # of the decay that branches off from their end

# What may change while a training pauses: how long it is, how fast it learns, how its
# steps are computed, and when it looks at itself.
MAY_CHANGE = (
    *("steps", "decay_steps", "warmup_steps", "learning_rate", "lora_learning_rate"),
    *("batch_tokens", "eval_every", "save_minutes"),
    *("start_from", "encoder", "llm"),  # the models themselves are compared by their digests
)


def identity(config: TrainConfig, bridge: Bridge, texts_sha256: str) -> dict:
    """What two trainings must share for one to resume with the other's state.

    How many workers compute a step is no part of it, nor in what batches.
    """
    settings = {k: v for k, v in asdict(config).items() if k not in MAY_CHANGE}
    return {"settings": settings, "models": asdict(bridge.config), "texts": texts_sha256}


@dataclass
class State:
    """All that a training is between two steps.

    Attributes
    ----------
    identity : dict
    learned : Module
        All that learns, and ``average``, its running average.
    optimizer : Optimizer
    warmup_steps : int
        As the training began with.
    step : int, default=0
        Steps done.
    best : float
        Least held-out loss so far.
    typical_norm : float, default=0.0
        Running mean of the gradient's norm; 0 before the first step.
    held_out_none : dict
        The held-out loss without an embedding, which never changes; empty until known.
    decay : list of int
        The step at which the decay began and how many steps it takes; empty before it.
    """

    identity: dict
    learned: nn.Module
    average: Average
    optimizer: torch.optim.Optimizer
    warmup_steps: int
    step: int = 0
    best: float = float("inf")
    typical_norm: float = 0.0
    held_out_none: dict[str, float] = field(default_factory=dict)
    decay: list[int] = field(default_factory=list)

    PLAIN = ("warmup_steps", "step", "best", "typical_norm", "held_out_none", "decay")

    def save(self, output: Path) -> None:
        """Write the state; the file before it is kept, and a kill leaves one of them whole."""
        file = output / (DECAY_FILE if self.decay else STATE_FILE)
        content = {name: getattr(self, name) for name in self.PLAIN} | {
            "identity": self.identity,
            "learned": self.learned.state_dict(),
            "average": self.average.weights,
            "optimizer": self.optimizer.state_dict(),
        }
        new = file.with_name(f"new_{file.name}")
        with whole_file(new) as handle:
            torch.save(content, handle)
        if file.exists():
            os.replace(file, _previous(file))
        os.replace(new, file)

    def take(self, content: dict[str, Any], output: Path) -> None:
        """Become what a file of ``output`` holds.

        Raises
        ------
        UserError
            If it is the state of another training.
        """
        then = content.get("identity", {})
        for part, what in (("settings", "settings"), ("models", "models"), ("texts", "texts")):
            if then.get(part) != self.identity[part]:
                raise UserError(
                    f"{output} holds a training with other {what}; name another --output."
                )
        self.learned.load_state_dict(content["learned"])
        self.average.load(content["average"])
        # Options such as fused belong to this machine.
        own = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict(content["optimizer"] | {"param_groups": own})
        for name in self.PLAIN:
            setattr(self, name, content[name])

    def resume(self, output: Path, config: TrainConfig) -> None:
        """Take the last state in ``output``, where there is one.

        A decay is resumed if it began where this training's constant steps end; after
        more of these another one is begun.

        Raises
        ------
        UserError
            If the state is that of another training.
        """
        main = _read(output / STATE_FILE)
        if main is None:
            return
        self.take(main, output)
        if not (output / WEIGHTS_FILE).exists():
            self.best = float("inf")  # a branch has its own bridge to find
        decay = _read(output / DECAY_FILE)
        begun = [max(self.step, config.steps), config.decay_length]
        if decay is not None and decay["decay"] == begun and begun[0] == self.step:
            self.take(decay, output)


def averaged_weights(directory: Path) -> dict[str, torch.Tensor] | None:
    """The bridge's weights in all precision, where its training's state is at hand."""
    state = _read(directory / DECAY_FILE) or _read(directory / STATE_FILE)
    return None if state is None else state.get("average")


def settings_of(directory: Path) -> dict[str, Any]:
    """What a training branching off from the one in ``directory`` is to begin with.

    Raises
    ------
    UserError
        If no training has left a state there.
    """
    state = _read(directory / STATE_FILE)
    if state is None or "average" not in state:
        raise UserError(f"There is no state of a training in {directory} to start from.")
    models = state["identity"]["models"]
    sizes = ("soft_tokens", "projector_hidden_size", "template", "lora_rank")
    shared = {name: models[name] for name in (*sizes, "pooling", "normalize", "max_length")}
    # One group for the projector and, where there are LoRA layers, one for them.
    peaks = [group["peak"] for group in state["optimizer"]["param_groups"]]
    rates = dict(zip(("learning_rate", "lora_learning_rate"), peaks, strict=False))
    return state["identity"]["settings"] | shared | rates | {"steps": state["step"]}


def branch_off(source: Path, output: Path) -> None:
    """Copy the state of the training in ``source``, unless ``output`` has one of its own."""
    if (output / STATE_FILE).exists():
        return
    output.mkdir(parents=True, exist_ok=True)
    for name in (METRICS_FILE, STATE_FILE):  # the state last: with it the copy is whole
        if (source / name).exists():
            with whole_file(output / name) as to, (source / name).open("rb") as file:
                shutil.copyfileobj(file, to)


def _without_gone_settings(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a training, which may have begun when there was a setting ``instructions``."""
    settings = state.get("identity", {}).get("settings", {})
    if settings.pop("instructions", False):
        raise UserError(
            "This training draws its prompts with --instructions, which is gone; finish it with "
            "smotext-ray of commit a21507a, or train into another --output."
        )
    return state


def _read(file: Path) -> dict[str, Any] | None:
    """What a state's file holds, or the file before it where it is missing or damaged."""
    for candidate in (file, _previous(file)):
        if candidate.exists():
            try:
                # To the CPU: of several workers on a machine each has a GPU of its own, and a
                # training may resume where there is none.
                found: dict = torch.load(candidate, map_location="cpu", weights_only=True)
            except Exception:
                continue
            return _without_gone_settings(found)
    if file.exists():
        raise UserError(f"{file} cannot be read and there is no state before it; delete it.")
    return None


def _previous(file: Path) -> Path:
    return file.with_name(f"previous_{file.name}")


@contextmanager
def alone_in(output: Path, workers: Workers) -> Iterator[None]:
    """Keep other trainings on this machine out of ``output`` while the block runs.

    The first worker holds a lock for all; it goes with its process, however that ends.

    Raises
    ------
    UserError
        If another process trains there.
    """
    if not workers.is_first:
        yield
        return
    directory = os.open(output, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(directory)
        raise UserError(
            f"Another process is training in {output}; stop it or name another --output."
        ) from error
    except OSError:
        pass  # some network file systems have no locks
    try:
        yield
    finally:
        os.close(directory)


def save_bridge(output: Path, bridge: Bridge, adapter: Adapter) -> None:
    """Put a bridge in the place of the one in ``output``."""
    partial = output / ".bridge"
    bridge.save_pretrained(partial)
    adapter.save(partial)
    for file in partial.iterdir():
        os.replace(file, output / file.name)
    partial.rmdir()


def keep_metrics(output: Path, steps: int) -> None:
    """Drop the lines after the first ``steps`` steps: those steps are taken again.

    A kill between two checkpoints leaves them, and may leave the last one half-written.
    """
    file = output / METRICS_FILE
    if file.exists():
        lines = [line for line in file.read_bytes().splitlines(True) if _step(line) <= steps]
        with whole_file(file) as handle:
            handle.writelines(lines)


def _step(line: bytes) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def append_metrics(output: Path, metrics: dict[str, Any]) -> None:
    """Add the line of one step."""
    with (output / METRICS_FILE).open("a") as file:
        file.write(json.dumps(metrics) + "\n")
