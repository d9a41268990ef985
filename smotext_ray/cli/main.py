"""The command line: ``smotext augment`` and its stages.

Exit codes: 0 done; 1 a fault of the system; 2 the user's input; 3 finished, but some
class fell short of its target.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, get_args

import shtab

from smotext_ray._version import __version__
from smotext_ray.cli.bridge import add_bridge_commands
from smotext_ray.cli.commands import (
    augment,
    card,
    decode,
    doctor,
    embed,
    expand,
    plan,
    push,
    show,
    status,
    verify,
)
from smotext_ray.cli.directions import add_directions_command
from smotext_ray.cli.evaluation import add_evaluation_commands
from smotext_ray.cli.exit_codes import FAULT, INTERRUPTED, USER_ERROR
from smotext_ray.cli.failures import innermost, users_error
from smotext_ray.config.choices import Decided, OnProblem
from smotext_ray.errors import UserError

if TYPE_CHECKING:
    from smotext_ray.pipeline.actors import Actors


log = logging.getLogger("smotext_ray")


def main(arguments: Sequence[str] | None = None, actors: Actors | None = None) -> int:
    """Run a command, with other actors than the real ones where they are given.

    Returns
    -------
    int
        The exit code.
    """
    _log_to_terminal()
    try:
        options = _options(arguments)
        options.actors = actors
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except UserError as error:
        print(f"smotext: error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("smotext: stopped; the same command goes on where it was.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return FAULT
    except Exception as error:
        sentence = users_error(error)
        if sentence is not None:
            print(f"smotext: error: {sentence}", file=sys.stderr)
            return USER_ERROR
        log.debug("the command failed", exc_info=True)
        logs = [h.baseFilename for h in log.handlers if isinstance(h, logging.FileHandler)]
        where = f" The traceback is in {logs[0]}." if logs else ""
        failure = f"smotext: failed: {innermost(error)}."
        print(f"{failure} The same command goes on where it was.{where}", file=sys.stderr)
        return FAULT


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, left = parser.parse_known_args(arguments)
    # argparse takes a list of values in one piece only; an option may stand between overrides.
    if left and not (
        hasattr(options, "overrides") and all(re.match(r"\w+\.\w+=", rest) for rest in left)
    ):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if left:
        options.overrides += left
    return options


class _Parser(argparse.ArgumentParser):
    """Errors of usage end like all the user's errors: one sentence, code 2."""

    def error(self, message: str) -> Any:
        raise UserError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="smotext", description="New labelled texts by SMOTExT, on Ray.")
    parser.add_argument("--version", action="version", version=f"smotext-ray {__version__}")
    shtab.add_argument_to(parser, ["--print-completion"], help="for your shell to run")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run_options(_command(commands, "augment", augment, "corpus in, balanced corpus out"))
    _add_expand_options(
        _command(commands, "expand", expand, "new rows into a run, classes up to their targets")
    )
    _add_run_options(_command(commands, "embed", embed, "first stage alone: check and embed"))
    for name, function, text in (
        ("plan", plan, "second stage alone: plan the next round of RUN"),
        ("decode", decode, "third stage alone: decode the planned round of RUN"),
        ("status", status, "how far RUN has come"),
        ("verify", verify, "whether the files of RUN are sound"),
        ("show", show, "texts of RUN beside their parents"),
        ("card", card, "write a data set card of the result of RUN"),
        ("push", push, "upload the result of RUN to the Hugging Face hub"),
    ):
        command = _command(commands, name, function, text)
        named = command.add_argument("run", metavar="RUN", help="run directory or URI")
        named.complete = shtab.DIRECTORY
        if name == "card":
            command.add_argument(
                "--license", metavar="NAME", help="such as cc-by-4.0 (default: none)"
            )
            command.add_argument("--overwrite", action="store_true", help="replace a card")
        if name == "push":
            command.add_argument("repo_id", metavar="REPO_ID", help="user/name; made if not there")
            command.add_argument(
                "--public", action="store_true", help="for all to see (default: private)"
            )
        if name == "status":
            command.add_argument("--json", action="store_true", help="print it for machines")
        if name == "show":
            command.add_argument("--rows", type=int, default=10, help="how many (default 10)")
            command.add_argument("--label", help="of this class only")
            command.add_argument(
                "--status",
                choices=get_args(Decided),
                default="accepted",
                help="which samples (default accepted)",
            )
    check = _command(commands, "doctor", doctor, "whether the main job can run here")
    check.add_argument("--preset", default="offline", help="whose models (default offline)")
    check.add_argument("--config", metavar="FILE", help="YAML file of settings")
    check.add_argument(
        "--cluster", action="store_true", help="look at every node of the Ray cluster instead"
    )
    check.add_argument("overrides", nargs="*", metavar="section.key=value", help="any setting")
    add_bridge_commands(commands, _command)
    add_evaluation_commands(commands, _command)
    add_directions_command(commands, _command)
    return parser


def _command(commands: Any, name: str, function: Callable[..., int], text: str) -> Any:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(command=function)
    return command


def _add_run_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    where = add(
        "--input", metavar="PATH", help="file, directory, glob, URI or Hugging Face data set"
    )
    where.complete = shtab.FILE  # type: ignore[attr-defined]
    where = add(
        "--output", metavar="RUN", help="run directory; a run that is there is gone on with"
    )
    where.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    add("--text-column", metavar="NAME", help="default: text")
    add("--label-column", metavar="NAME", help="default: label")
    add("--id-column", metavar="NAME", help="default: rows are numbered")
    add("--preset", default="offline", metavar="NAME", help="default: offline")
    add("--config", metavar="FILE", help="YAML file of settings")
    add(
        "--sampling-strategy",
        metavar="S",
        help="as in imbalanced-learn: auto, minority, 'not majority', all, a number for two "
        "classes, or JSON of final counts such as '{\"spam\": 500}' (default auto)",
    )
    add("--k-neighbors", type=int, metavar="K", help="neighbours to draw from (default 5)")
    add("--seed", type=int, metavar="N", help="of the plan and of decoding (default 0)")
    add("--max-rounds", type=int, metavar="N", help="plan and decode at most N times (default 3)")
    add("--on-bad-row", choices=get_args(OnProblem), help="null, empty, not text (default error)")
    add(
        "--on-singleton-class",
        choices=get_args(OnProblem),
        help="a class of one text (default error)",
    )
    add("--dry-run", action="store_true", help="say what would be done; write nothing")
    add("overrides", nargs="*", metavar="section.key=value", help="any other setting")


def _add_expand_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--run", required=True, metavar="RUN", help="a run that smotext augment has made")
    add("--input", metavar="PATH", help="holds new rows (default: the run's own input, grown)")
    add("--target", metavar="S", help="as --sampling-strategy of augment (default: as before)")
    add("--max-rounds", type=int, metavar="N", help="plan and decode at most N times")
    add("--on-bad-row", choices=get_args(OnProblem), help="null, empty, not text")
    add("--on-singleton-class", choices=get_args(OnProblem), help="a class of one text")
    add("overrides", nargs="*", metavar="section.key=value", help="a setting that may change")


def _log_to_terminal() -> None:
    if log.handlers:
        return
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False


if __name__ == "__main__":
    sys.exit(main())
