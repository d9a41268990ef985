"""The command line of bridges: ``smotext train-bridge`` and ``smotext bridge``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_bridge_commands(commands: Any, command: Callable[..., Any]) -> None:
    """Add the commands to those of ``smotext``.

    Parameters
    ----------
    commands : subparsers of argparse
    command : callable
        Makes one of a name, a function that returns the exit code, and a sentence.
    """
    _add_training_options(command(commands, "train-bridge", train_bridge, "train a bridge"))
    bridge = commands.add_parser(
        "bridge", help="evaluate and share bridges", description="Bridges."
    )
    of_bridges = bridge.add_subparsers(title="commands", required=True, metavar="COMMAND")
    measure = command(of_bridges, "eval", bridge_eval, "how well a bridge carries meaning")
    _add_eval_options(measure)
    card = command(of_bridges, "card", bridge_card, "write a bridge's model card")
    _add_card_options(card)
    push = command(of_bridges, "push", bridge_push, "upload a bridge to the Hugging Face hub")
    push.add_argument("repo_id", metavar="REPO_ID", help="user/name; made where there is none")
    push.add_argument("--bridge", required=True, metavar="DIR", help="with its model card")
    push.add_argument(
        "--private",
        action="store_true",
        default=None,
        help="in a private repository (default: as the owner's new ones are)",
    )
    tasks = command(of_bridges, "tasks", bridge_tasks, "tasks for stage 2 from any texts")
    _add_tasks_options(tasks)
    split = command(of_bridges, "import-xrag", import_xrag, "split an xRAG checkpoint in two")
    split.add_argument("source", help="directory, or a hub name such as Hannibal046/xrag-7b")
    split.add_argument("--output", required=True, metavar="DIR", help="for DIR/llm and DIR/bridge")
    split.add_argument(
        "--encoder",
        default="Salesforce/SFR-Embedding-Mistral",
        metavar="MODEL",
        help="the encoder it was trained with (default: %(default)s)",
    )


def train_bridge(options: argparse.Namespace) -> int:
    """``smotext train-bridge``: train a bridge on a file of texts."""
    from smotext_ray.bridge.config import sizes_of
    from smotext_ray.bridge.texts import read_tasks, read_texts
    from smotext_ray.models import bridge_directory

    second = options.stage == 2
    texts = read_tasks(options.input) if second else read_texts(options.input, options.text_column)
    start = sizes_of(bridge_directory(options.start_from)) if options.start_from else {}
    from smotext_ray.bridge.train import TrainConfig, train

    given = start | {
        name: getattr(options, name)
        for name in TrainConfig.__dataclass_fields__
        if getattr(options, name, None) is not None
    }
    config, output = TrainConfig(**given), Path(options.output)
    cache = Path(options.cache) if options.cache else None
    if options.workers is None:
        train(texts, config, output, compile_llm=options.compile, cache=cache)
    else:
        from smotext_ray.bridge.distributed import train_on_ray

        train_on_ray(
            texts, config, output, options.workers, compile_llm=options.compile, cache=cache
        )
    print(f"The best bridge by held-out loss is in {output}; use it with bridge.path={output}")
    return 0


def bridge_eval(options: argparse.Namespace) -> int:
    """``smotext bridge eval``: how well a bridge carries meaning."""
    from rich.console import Console

    from smotext_ray.bridge.texts import read_labelled_texts
    from smotext_ray.config import load_config

    given = {"bridge.path": options.bridge} if options.bridge else {}
    config = load_config(options.preset, None, options.overrides, given)
    texts, labels = read_labelled_texts(
        options.input, options.text_column, options.label_column, options.rows
    )
    from smotext_ray.bridge.evaluate import evaluate_bridge, show_evaluation

    found = evaluate_bridge(texts, labels, config)
    show_evaluation(found, Console())
    if options.json:
        Path(options.json).write_text(json.dumps(found.as_json(), indent=2) + "\n")
    return 0


def bridge_card(options: argparse.Namespace) -> int:
    """``smotext bridge card``: write a bridge's model card."""
    from smotext_ray.bridge.card import read_evaluations, write_card

    card = write_card(
        Path(options.bridge).expanduser(),
        read_evaluations(options.eval),
        license=options.license,
        overwrite=options.overwrite,
    )
    print(f"Wrote {card}; share it with: smotext bridge push USER/NAME --bridge {options.bridge}")
    return 0


def bridge_push(options: argparse.Namespace) -> int:
    """``smotext bridge push``: upload a bridge to the model hub."""
    from smotext_ray.bridge.hub import push_directory

    name = push_directory(
        Path(options.bridge).expanduser(), options.repo_id, private=options.private
    )
    print(f"The bridge is on the model hub; use it with bridge.path={name}")
    return 0


def bridge_tasks(options: argparse.Namespace) -> int:
    """``smotext bridge tasks``: make stage 2's tasks from any texts."""
    from smotext_ray.bridge.texts import read_texts

    texts = read_texts(options.input, options.text_column)
    from smotext_ray.bridge.frozen import FrozenModels
    from smotext_ray.bridge.tasks import make_tasks, write_tasks
    from smotext_ray.bridge.train import TrainConfig

    given = {name: getattr(options, name) for name in ("encoder", "llm") if getattr(options, name)}
    tasks = make_tasks(texts, FrozenModels(TrainConfig(**given)), options.rows, options.seed)
    write_tasks(tasks, Path(options.output))
    print(f"{len(tasks)} tasks; next: smotext train-bridge --stage 2 --input {options.output}")
    return 0


def import_xrag(options: argparse.Namespace) -> int:
    """``smotext bridge import-xrag``: split an xRAG checkpoint into an LLM and a bridge."""
    from smotext_ray.bridge.xrag import import_xrag as split

    done = split(options.source, options.output, encoder=options.encoder)
    print(f"Use it with: decoder.model={done.llm} bridge.path={done.bridge}")
    return 0


def _add_training_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--input", required=True, metavar="FILE", help="texts: .txt (one a line) or a table")
    add("--text-column", default="text", metavar="NAME", help="of a table (default text)")
    add("--output", required=True, metavar="DIR", help="bridge directory; gone on with if there")
    add("--encoder", metavar="MODEL", help="default: all-MiniLM-L6-v2 from its package")
    add("--pooling", choices=["mean", "cls", "last"], help="default: mean")
    add("--llm", metavar="MODEL", help="default: SmolLM2-135M-Instruct from its package")
    add("--template", metavar="TEXT", help="prompt around <xRAG> (default: nothing)")
    add("--stage", type=int, choices=[1, 2], help="1: say the text; 2: answer about it (default 1)")
    add("--instructions", action="store_true", help="stage 1 with instruction templates as well")
    add("--from", dest="start_from", metavar="BRIDGE", help="go on from a bridge, or 'default'")
    add("--learning-rate", type=float, metavar="R", help="peak (default 0.001)")
    for name, text in (
        ("soft-tokens", "K, soft tokens a text (default 8)"),
        ("projector-hidden-size", "default 1024"),
        ("lora-rank", "of LoRA layers on the LLM (default 0: the LLM stays as it is)"),
        ("max-text-tokens", "tokens of a text to learn from (default 64)"),
        ("steps", "default 2000"),
        ("batch-size", "texts that a worker computes at once (default 32)"),
        ("accumulate", "batches of each worker to a step (default 1)"),
        ("workers", "train on Ray with N processes (default: here, without Ray)"),
        ("held-out", "texts set aside for the held-out loss (default 512)"),
        ("eval-every", "steps (default 250)"),
        ("save-every", "steps (default 100)"),
        ("seed", "default 0"),
    ):
        add(f"--{name}", type=int, metavar="N", help=text)
    add("--cache", metavar="DIR", help="for the embeddings (default: the output directory)")
    add("--compile", action="store_true", help="torch.compile the LLM: slow start, fast steps")


def _add_tasks_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--input", required=True, metavar="FILE", help="texts: .txt (one a line) or a table")
    add("--text-column", default="text", metavar="NAME", help="of a table (default text)")
    add("--output", required=True, metavar="FILE", help="parquet: background, question, answer")
    add("--rows", type=int, default=10_000, metavar="N", help="tasks (default 10000)")
    add("--encoder", metavar="MODEL", help="default: all-MiniLM-L6-v2 from its package")
    add("--llm", metavar="MODEL", help="default: SmolLM2-135M-Instruct from its package")
    add("--seed", type=int, default=0, metavar="N", help="default 0")


def _add_eval_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--input", required=True, metavar="FILE", help="texts it was not trained on")
    add("--text-column", default="text", metavar="NAME", help="default: text")
    add("--label-column", metavar="NAME", help="default: no labels")
    add("--rows", type=int, default=500, metavar="N", help="the first N (default 500)")
    add("--bridge", metavar="BRIDGE", help="directory or hub name (default: the preset's)")
    add("--preset", default="offline", metavar="NAME", help="whose models (default offline)")
    add("--json", metavar="FILE", help="write the figures there too")
    add("overrides", nargs="*", metavar="section.key=value", help="any other setting")


def _add_card_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--bridge", required=True, metavar="DIR", help="for DIR/README.md")
    add(
        "--eval",
        required=True,
        nargs="+",
        metavar="FILE",
        help="what bridge eval --json wrote; the card names each set of texts as its file",
    )
    add("--license", metavar="NAME", help="such as apache-2.0 (default: none is named)")
    add("--overwrite", action="store_true", help="replace a README.md that is there")
