"""The command line of bridges: ``smotext train-bridge`` and ``smotext bridge``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smotext_ray.cli.decode import add_decode_command
from smotext_ray.cli.points import add_points_command, check_rows
from smotext_ray.cli.terminal import say
from smotext_ray.cli.train_bridge import add_models, add_texts, add_training_command
from smotext_ray.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from smotext_ray.training.evaluate import Evaluation


def add_bridge_commands(commands: Any, command: Callable[..., Any]) -> None:
    """Add the commands to those of ``smotext``.

    Parameters
    ----------
    commands : subparsers of argparse
    command : callable
        Adds a command, given a name, a function that returns the exit code, and a help text.
    """
    add_training_command(commands, command)
    bridge = commands.add_parser(
        "bridge", help="evaluate and share bridges", description="Bridges."
    )
    of_bridges = bridge.add_subparsers(title="commands", required=True, metavar="COMMAND")
    measure = command(of_bridges, "eval", bridge_eval, "measure a bridge's reconstruction quality")
    _add_eval_options(measure)
    card = command(of_bridges, "card", bridge_card, "write a bridge's model card")
    _add_card_options(card)
    push = command(of_bridges, "push", bridge_push, "upload a bridge to the Hugging Face hub")
    push.add_argument("repo_id", metavar="REPO_ID", help="user/name; created if missing")
    push.add_argument(
        "--bridge", required=True, metavar="DIR", help="bridge directory with its model card"
    )
    push.add_argument(
        "--private",
        action="store_true",
        default=None,
        help="use a private repository (default: the account's default visibility)",
    )
    average = command(of_bridges, "average", bridge_average, "average the weights of bridges")
    average.add_argument(
        "bridges",
        nargs="+",
        metavar="BRIDGE",
        help="two or more, trained from one another; one named twice counts twice",
    )
    average.add_argument("--output", required=True, metavar="DIR", help="a new bridge directory")
    add_decode_command(of_bridges, command)
    add_points_command(of_bridges, command)
    tasks = command(of_bridges, "tasks", bridge_tasks, "create tasks for stage 2 from any texts")
    _add_tasks_options(tasks)
    split = command(of_bridges, "import-xrag", import_xrag, "split an xRAG checkpoint in two")
    split.add_argument("source", help="directory, or a hub name such as Hannibal046/xrag-7b")
    split.add_argument(
        "--output", required=True, metavar="DIR", help="writes DIR/llm and DIR/bridge"
    )
    split.add_argument(
        "--encoder",
        default="Salesforce/SFR-Embedding-Mistral",
        metavar="MODEL",
        help="the encoder it was trained with (default: %(default)s)",
    )


def bridge_eval(options: argparse.Namespace) -> int:
    """``smotext bridge eval``: measure a bridge's reconstruction quality."""
    from rich.console import Console

    from smotext_ray.config.load import load_config
    from smotext_ray.corpus.texts import read_labeled_texts
    from smotext_ray.utils.files import new_file

    check_rows(options.rows, 1)
    file = new_file(options.json) if options.json else None
    given = {"bridge.path": options.bridge} if options.bridge else {}
    config = load_config(options.preset, None, options.overrides, given)
    texts, labels = read_labeled_texts(
        options.input, options.text_column, options.label_column, options.rows
    )
    from smotext_ray.training.evaluate import evaluate_bridge

    found = evaluate_bridge(texts, labels, config)
    show_evaluation(found, Console())
    if file:
        file.write_text(json.dumps(found.as_json(), indent=2) + "\n")
    return 0


def bridge_average(options: argparse.Namespace) -> int:
    """``smotext bridge average``: average the weights of bridges."""
    from smotext_ray.training.soup import average_bridges

    output = average_bridges(options.bridges, Path(options.output).expanduser())
    say(f"Averaged {len(options.bridges)} bridges; measure it with: smotext bridge eval "
        f"--bridge {output} --input FILE")  # fmt: skip
    return 0


def bridge_card(options: argparse.Namespace) -> int:
    """``smotext bridge card``: write a bridge's model card."""
    from smotext_ray.training.card import read_evaluations, write_card

    card = write_card(
        Path(options.bridge).expanduser(),
        read_evaluations(options.eval),
        license=options.license,
        overwrite=options.overwrite,
    )
    say(f"Wrote {card}; share it with: smotext bridge push USER/NAME --bridge {options.bridge}")
    return 0


def bridge_push(options: argparse.Namespace) -> int:
    """``smotext bridge push``: upload a bridge to the model hub."""
    from smotext_ray.training.push import push_directory

    name = push_directory(
        Path(options.bridge).expanduser(), options.repo_id, private=options.private
    )
    say(f"The bridge is on the model hub; use it with bridge.path={name}")
    return 0


def bridge_tasks(options: argparse.Namespace) -> int:
    """``smotext bridge tasks``: create tasks for stage 2 from any texts."""
    from smotext_ray.corpus.texts import read_texts
    from smotext_ray.utils.files import new_file

    check_rows(options.rows, 2)
    output = new_file(options.output)
    texts = read_texts(options.input, options.text_column)
    from smotext_ray.training.config import TrainConfig
    from smotext_ray.training.frozen import FrozenModels
    from smotext_ray.training.tasks import make_tasks, write_tasks

    given = {name: getattr(options, name) for name in ("encoder", "llm") if getattr(options, name)}
    tasks = make_tasks(texts, FrozenModels(TrainConfig(**given)), options.rows, options.seed)
    if not tasks:
        raise UserError("The LLM gave no answer to any text; use other texts, or another --llm.")
    write_tasks(tasks, output)
    say(f"{len(tasks)} tasks; next: smotext train-bridge --stage 2 --input {output}")
    return 0


def import_xrag(options: argparse.Namespace) -> int:
    """``smotext bridge import-xrag``: split an xRAG checkpoint into an LLM and a bridge."""
    from smotext_ray.training.xrag import import_xrag as split

    done = split(options.source, options.output, encoder=options.encoder)
    say(f"Use it with: decoder.model={done.llm} bridge.path={done.bridge}")
    return 0


def _add_tasks_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add_texts(command)
    add(
        "--output",
        required=True,
        metavar="FILE",
        help="parquet file with background, question, answer",
    )
    add("--rows", type=int, default=10_000, metavar="N", help="number of tasks (default 10000)")
    add_models(command)
    add("--seed", type=int, default=0, metavar="N", help="default 0")


def _add_eval_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--input", required=True, metavar="FILE", help="texts that the bridge was not trained on")
    add("--text-column", default="text", metavar="NAME", help="default: text")
    add("--label-column", metavar="NAME", help="default: no labels")
    add("--rows", type=int, default=500, metavar="N", help="use the first N rows (default 500)")
    add("--bridge", metavar="BRIDGE", help="directory or hub name (default: the preset's)")
    add("--preset", default="offline", metavar="NAME", help="preset of models (default offline)")
    add("--json", metavar="FILE", help="also write the metrics to FILE")
    add("overrides", nargs="*", metavar="section.key=value", help="any other setting")


def _add_card_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--bridge", required=True, metavar="DIR", help="bridge directory; writes DIR/README.md")
    add(
        "--eval",
        required=True,
        nargs="+",
        metavar="FILE",
        help="results of bridge eval --json; the card names each set of texts after its file",
    )
    add("--license", metavar="NAME", help="such as apache-2.0 (default: none)")
    add("--overwrite", action="store_true", help="replace an existing README.md")


def show_evaluation(found: Evaluation, console: Console) -> None:
    """Print the metrics as a table."""
    from rich.table import Table

    table = Table("metric", "value", title=f"Bridge on {found.rows} texts")
    for name, value in found.as_json().items():
        if name not in ("rows", "interpolated", "by_length"):
            table.add_row(name, "no labels" if value is None else f"{value:.3f}")
    for lam, cosine in found.interpolated.items():
        table.add_row(f"cosine to the point, interpolated at lam {lam}", f"{cosine:.3f}")
    console.print(table)
    lengths = Table("words", "texts", "cosine", "own source closest", "words decoded")
    for name, bucket in found.by_length.items():
        lengths.add_row(
            name,
            str(bucket.rows),
            f"{bucket.cosine:.3f}",
            f"{bucket.retrieval_at_1:.0%}",
            f"{bucket.decoded_words:.0f} of {bucket.words:.0f}",
        )
    console.print(lengths)
