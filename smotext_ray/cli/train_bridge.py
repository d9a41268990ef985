"""The command ``smotext train-bridge``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from smotext_ray.cli.terminal import say
from smotext_ray.config.choices import Pooling, TrainingStage

# Integer settings of a training.
COUNTS = (
    ("soft-tokens", "K, soft tokens per text (default 8)"),
    ("projector-hidden-size", "default 1024"),
    ("lora-rank", "rank of LoRA adapters on the LLM (default 0: the LLM is frozen)"),
    ("max-text-tokens", "longer texts are skipped (default 160)"),
    ("steps", "steps before the decay (default 300)"),
    ("decay-steps", "additional steps while the learning rate decays to 0 (default: steps / 5)"),
    ("warmup-steps", "warmup steps (default: a tenth of the steps, at most 150)"),
    ("tokens-per-step", "tokens of text per step (default 8000)"),
    ("batch-tokens", "positions per forward pass of a worker; raise on a GPU (default 512)"),
    ("held-out", "number of texts for the held-out loss (default 512)"),
    ("eval-every", "steps between held-out losses (default 50)"),
    ("seed", "default 0"),
)


def add_training_command(commands: Any, command: Callable[..., Any]) -> None:
    """Add ``train-bridge`` to the commands of ``smotext``; see `add_bridge_commands`."""
    _add_options(command(commands, "train-bridge", train_bridge, "train a bridge"))


def train_bridge(options: argparse.Namespace) -> int:
    """``smotext train-bridge``: train a bridge on a file of texts."""
    from smotext_ray.corpus.texts import read_texts
    from smotext_ray.training.config import TrainConfig
    from smotext_ray.training.points import read_preferences
    from smotext_ray.training.tasks import read_tasks

    output, config = Path(options.output), TrainConfig(**_given(options))

    def read(file: str) -> list[Any]:
        if config.stage == 1:
            return read_texts(file, options.text_column)
        return read_tasks(file) if config.stage == 2 else read_preferences(file)

    texts = read(options.input)
    held_out = read(options.held_out_file) if options.held_out_file else None
    from smotext_ray.training.distributed import torchrun_group, train_on_ray
    from smotext_ray.training.state import branch_off
    from smotext_ray.training.train import train

    if options.from_state:
        branch_off(Path(options.from_state), output)

    more: dict[str, Any] = {
        "held_out": held_out,
        "compile_llm": options.compile,
        "cache": Path(options.cache) if options.cache else None,
    }
    if options.workers is not None:
        train_on_ray(texts, config, output, options.workers, **more)
        first = True
    else:
        with torchrun_group() as first:
            train(texts, config, output, **more)
    if first:
        best = "cosine" if config.stage == 3 else "loss"
        say(f"The best bridge by held-out {best} is in {output}; use it with bridge.path={output}")
    return 0


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a training: those of the starting bridge, overridden by the options."""
    from smotext_ray.models.bridge_config import sizes_of
    from smotext_ray.models.files import bridge_directory

    given: dict[str, Any] = {}
    if options.from_state:
        from smotext_ray.training.state import settings_of

        given = settings_of(Path(options.from_state))
    if options.start_from:
        given |= sizes_of(bridge_directory(options.start_from))
    names = [count.replace("-", "_") for count, _ in COUNTS]
    names += ["encoder", "pooling", "llm", "template", "stage", "start_from"]
    names += ["learning_rate", "lora_learning_rate", "save_minutes"]
    given |= {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return given


def add_texts(command: argparse.ArgumentParser) -> None:
    """Add the options for a file of texts."""
    add = command.add_argument
    add("--input", required=True, metavar="FILE", help="texts: .txt (one per line) or a table")
    add("--text-column", default="text", metavar="NAME", help="column of a table (default text)")


def add_models(command: argparse.ArgumentParser) -> None:
    """Add the options for the two models that a bridge connects."""
    add = command.add_argument
    add("--encoder", metavar="MODEL", help="default: all-MiniLM-L6-v2 from its package")
    add("--llm", metavar="MODEL", help="default: SmolLM2-135M-Instruct from its package")


def _add_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add_texts(command)
    add(
        "--output",
        required=True,
        metavar="DIR",
        help="bridge directory; an existing training run is resumed",
    )
    add(
        "--held-out-file",
        metavar="FILE",
        help="texts for the held-out loss (default: part of --input)",
    )
    add_models(command)
    add("--pooling", choices=get_args(Pooling), help="default: mean")
    add("--template", metavar="TEXT", help="prompt around <xRAG> (default: nothing)")
    add(
        "--stage",
        type=int,
        choices=get_args(TrainingStage),
        help="1: repeat the text; 2: answer questions about it; 3: prefer texts near a point "
        "(default 1)",
    )
    add("--from", dest="start_from", metavar="BRIDGE", help="start from a bridge, or 'default'")
    add(
        "--from-state",
        metavar="DIR",
        help="branch off the training in DIR, which may be running: keep its settings and steps, "
        "and decay for --decay-steps",
    )
    add("--learning-rate", type=float, metavar="R", help="peak learning rate (default 0.001)")
    add(
        "--lora-learning-rate",
        type=float,
        metavar="R",
        help="learning rate of LoRA (default: the same)",
    )
    add("--save-minutes", type=float, metavar="M", help="minutes between checkpoints (default 5)")
    for name, text in COUNTS:
        add(f"--{name}", type=int, metavar="N", help=text)
    add(
        "--workers",
        type=int,
        metavar="N",
        help="train on Ray with N processes (default: in this process)",
    )
    add("--cache", metavar="DIR", help="directory for embeddings (default: the output directory)")
    add("--compile", action="store_true", help="torch.compile the LLM: slow start, fast steps")
