"""Files of a training: its state, its metrics, and the best bridge so far.

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
from smotext_ray.utils.files import sync, whole_file

if TYPE_CHECKING:
    from smotext_ray.training.config import TrainConfig


STATE_FILE = "training_state.pt"  # of the constant-rate steps, which can be extended
DECAY_FILE = "decay_state.pt"  # of the decay, which branches off at their end

# Settings that may change when a training is resumed: its length, learning rates, how steps are
# computed, and how often to evaluate.
MAY_CHANGE = (
    *("steps", "decay_steps", "warmup_steps", "learning_rate", "lora_learning_rate"),
    *("batch_tokens", "eval_every", "save_minutes"),
    *("start_from", "encoder", "llm"),  # models are compared by digest
)


def identity(config: TrainConfig, bridge: Bridge, texts_sha256: str) -> dict:
    """What must match for a training to resume from a state.

    The number of workers and the batches of a step are not part of it.
    """
    settings = {k: v for k, v in asdict(config).items() if k not in MAY_CHANGE}
    return {"settings": settings, "models": asdict(bridge.config), "texts": texts_sha256}


@dataclass
class State:
    """The complete state of a training between two steps.

    Attributes
    ----------
    identity : dict
    learned : Module
        All trainable weights, and ``average``, their running average.
    optimizer : Optimizer
    warmup_steps : int
        Number of first steps in which the learning rates rise.
    step : int, default=0
        Number of completed steps.
    best : float
        Lowest held-out loss so far; in stage 3 the highest cosine, negated.
    typical_norm : float, default=0.0
        Running mean of the gradient norm; 0 before the first step.
    held_out_none : dict
        The held-out loss without an embedding, which never changes; empty until known.
    decay : list of int
        The first step of the decay and its number of steps; empty before the decay.
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
        """Write the state; the previous file is kept, so a kill always leaves one intact."""
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
            _keep_as_previous(file)
        os.replace(new, file)
        sync([output])

    def take(self, content: dict[str, Any], output: Path) -> None:
        """Load a state file from ``output``.

        Raises
        ------
        UserError
            If it belongs to another training.
        """
        then = content.get("identity", {})
        for part, what in (("settings", "settings"), ("models", "models"), ("texts", "texts")):
            if then.get(part) != self.identity[part]:
                raise UserError(f"{output} has a training with other {what}; use another --output.")
        self.learned.load_state_dict(content["learned"])
        self.average.load(content["average"])
        # Options such as fused depend on this machine.
        own = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict(content["optimizer"] | {"param_groups": own})
        for name in self.PLAIN:
            setattr(self, name, content[name])

    def resume(self, output: Path, config: TrainConfig) -> None:
        """Load the last state in ``output``, if any.

        A decay is resumed if it started where this training's constant steps end; with more
        constant steps, a new decay is started later.

        Raises
        ------
        UserError
            If the state belongs to another training.
        """
        main = _read(output / STATE_FILE)
        if main is None:
            return
        self.take(main, output)
        if not (output / WEIGHTS_FILE).exists():
            self.best = float("inf")  # a branch looks for its own best bridge
        decay = _read(output / DECAY_FILE)
        begun = [max(self.step, config.steps), config.decay_length]
        if decay is not None and decay["decay"] == begun and begun[0] == self.step:
            self.take(decay, output)


def averaged_weights(directory: Path) -> dict[str, torch.Tensor] | None:
    """The bridge's full-precision weights, if its training state is available."""
    state = _read(directory / DECAY_FILE) or _read(directory / STATE_FILE)
    return None if state is None else state.get("average")


def settings_of(directory: Path) -> dict[str, Any]:
    """The state from which to branch off the training in ``directory``.

    Raises
    ------
    UserError
        If there is no training state.
    """
    state = _read(directory / STATE_FILE)
    if state is None or "average" not in state:
        raise UserError(
            f"{directory} has no training state to branch from; give the --output of a training."
        )
    models = state["identity"]["models"]
    sizes = ("soft_tokens", "projector_hidden_size", "template", "lora_rank")
    shared = {name: models[name] for name in (*sizes, "pooling", "normalize", "max_length")}
    peaks = {group["name"]: group["peak"] for group in state["optimizer"]["param_groups"]}
    rates = {name: peaks[name] for name in ("learning_rate", "lora_learning_rate") if name in peaks}
    return state["identity"]["settings"] | shared | rates | {"steps": state["step"]}


def branch_off(source: Path, output: Path) -> None:
    """Copy the training state in ``source``, unless ``output`` already has one."""
    if any(file.exists() for file in (output / STATE_FILE, _previous(output / STATE_FILE))):
        return
    output.mkdir(parents=True, exist_ok=True)
    for name in (METRICS_FILE, STATE_FILE):  # the state goes last: it marks the copy as complete
        if (source / name).exists():
            with whole_file(output / name) as to, (source / name).open("rb") as file:
                shutil.copyfileobj(file, to)


def _without_gone_settings(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a training without the former setting ``instructions``; rejects its use."""
    settings = state.get("identity", {}).get("settings", {})
    if settings.pop("instructions", False):
        raise UserError(
            "This training draws its prompts with --instructions, which is gone; finish it with "
            "smotext-ray of commit a21507a, or train into another --output."
        )
    return state


def _read(file: Path) -> dict[str, Any] | None:
    """Read a state file, or the previous one if it is missing or damaged."""
    for candidate in (file, _previous(file)):
        if candidate.exists():
            try:
                # To the CPU: workers on a machine use different GPUs, and a training may resume on
                # a machine without one.
                found: dict = torch.load(candidate, map_location="cpu", weights_only=True)
            except Exception:
                continue
            return _without_gone_settings(found)
    if file.exists():
        raise UserError(f"{file} cannot be read, and there is no earlier state; delete it.")
    return None


def _keep_as_previous(file: Path) -> None:
    """Give a state a second name, while it always keeps the one that `branch_off` looks for."""
    link = file.with_name(f".{file.name}")
    link.unlink(missing_ok=True)
    try:
        os.link(file, link)
    except OSError:  # a file system without hard links
        os.replace(file, _previous(file))
        return
    os.replace(link, _previous(file))


def _previous(file: Path) -> Path:
    return file.with_name(f"previous_{file.name}")


@contextmanager
def alone_in(output: Path, workers: Workers) -> Iterator[None]:
    """Lock ``output`` against other trainings on this machine during a ``with`` block.

    The first worker holds the lock for all; the kernel releases it when the process ends.

    Raises
    ------
    UserError
        If another process is training there.
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
            f"Another process is training in {output}; stop it or use another --output."
        ) from error
    except OSError:
        pass  # some network file systems have no locks
    try:
        yield
    finally:
        os.close(directory)


def save_bridge(output: Path, bridge: Bridge, adapter: Adapter) -> None:
    """Replace the bridge in ``output``."""
    partial = output / ".bridge"
    bridge.save_pretrained(partial)
    adapter.save(partial)
    # Synced before they replace the old ones, because a later state will refer to them.
    sync([*partial.iterdir(), partial])
    for file in partial.iterdir():
        os.replace(file, output / file.name)
    partial.rmdir()
    sync([output])


def keep_metrics(output: Path, steps: int) -> None:
    """Drop metrics after the first ``steps`` steps: those steps will be repeated.

    Killing a training between two checkpoints leaves such lines; the last may be half-written.
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
    """Append the line of one step."""
    with (output / METRICS_FILE).open("a") as file:
        file.write(json.dumps(metrics) + "\n")
