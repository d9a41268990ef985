"""The command line: ``smotext augment`` and its stages.

Exit codes: 0 done; 1 internal error; 2 invalid input or settings; 3 finished, but some class fell
short of its target.
"""

from __future__ import annotations

import argparse
import difflib
import io
import logging
import os
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
from smotext_ray.cli.decode import add_interpolate_command
from smotext_ray.cli.directions import add_directions_command
from smotext_ray.cli.evaluation import add_evaluation_commands
from smotext_ray.cli.exit_codes import INTERNAL_ERROR, INTERRUPTED, USER_ERROR
from smotext_ray.cli.failures import innermost, users_error
from smotext_ray.cli.help import DESCRIPTION, EXAMPLES, OverviewFormatter, overview
from smotext_ray.cli.play import add_play_command
from smotext_ray.cli.terminal import SafeFormatter, say
from smotext_ray.config.choices import Decided, OnProblem, Order, TextFormat
from smotext_ray.errors import UserError

if TYPE_CHECKING:
    from smotext_ray.pipeline.executor import Executor


log = logging.getLogger("smotext_ray")


def main(arguments: Sequence[str] | None = None, executor: Executor | None = None) -> int:
    """Run a command; tests may pass another executor.

    Returns
    -------
    int
        The exit code.
    """
    _show_any_character()
    _log_to_terminal()
    try:
        options = _options(arguments)
        options.executor = executor
        _use_address(options)
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except UserError as error:
        say(f"smotext: error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        say("smotext: interrupted; run the same command again to resume.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return INTERNAL_ERROR
    except Exception as error:
        sentence = users_error(error)
        if sentence is not None:
            say(f"smotext: error: {sentence}", file=sys.stderr)
            return USER_ERROR
        log.debug("the command failed", exc_info=True)
        logs = [h.baseFilename for h in log.handlers if isinstance(h, logging.FileHandler)]
        where = f" The traceback is in {logs[0]}." if logs else ""
        failure = f"smotext: failed: {innermost(error)}."
        say(f"{failure} Run the same command again to resume.{where}", file=sys.stderr)
        return INTERNAL_ERROR


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, left = parser.parse_known_args(arguments)
    # argparse wants positional values in one block; allow options between overrides.
    if left and not (
        hasattr(options, "overrides") and all(re.match(r"\w+\.\w+=", rest) for rest in left)
    ):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if left:
        options.overrides += left
    return options


class _Parser(argparse.ArgumentParser):
    """Reports usage errors like all user errors: one sentence, exit code 2."""

    def error(self, message: str) -> Any:
        found = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if found:
            known = re.findall(r"[\w-]+", found[2])
            near = difflib.get_close_matches(found[1], known, n=1)
            meant = f"did you mean {near[0]!r}? Choose" if near else "choose"
            message = f"unknown choice {found[1]!r}; {meant} from {', '.join(known)}"
        raise UserError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="smotext",
        formatter_class=OverviewFormatter,
        epilog=EXAMPLES,
        usage="smotext COMMAND ...",
    )
    parser.add_argument("--version", action="version", version=f"smotext-ray {__version__}")
    shtab.add_argument_to(parser, ["--print-completion"], help="print a shell completion script")
    commands = parser.add_subparsers(prog="smotext", required=True, metavar="COMMAND")
    _add_run_options(_command(commands, "augment", augment, "balance a dataset (all stages)"))
    _add_expand_options(
        _command(commands, "expand", expand, "add new rows to a run and top its classes up")
    )
    _add_run_options(_command(commands, "embed", embed, "stage 1 only: check and embed the corpus"))
    for name, function, text in (
        ("plan", plan, "stage 2 only: plan the next round of RUN"),
        ("decode", decode, "stage 3 only: decode the planned round of RUN"),
        ("status", status, "show the progress of RUN"),
        ("verify", verify, "check the files of RUN"),
        ("show", show, "show texts of RUN next to their parents"),
        ("card", card, "write a dataset card for the result of RUN"),
        ("push", push, "upload the result of RUN to the Hugging Face hub"),
    ):
        command = _command(commands, name, function, text)
        named = command.add_argument("run", metavar="RUN", help="run directory or URI")
        named.complete = shtab.DIRECTORY
        if name == "card":
            command.add_argument(
                "--license", metavar="NAME", help="such as cc-by-4.0 (default: none)"
            )
            command.add_argument(
                "--overwrite", action="store_true", help="replace an existing card"
            )
        if name == "push":
            command.add_argument("repo_id", metavar="REPO_ID", help="user/name; created if missing")
            command.add_argument(
                "--public",
                action="store_true",
                help="make the repository public (default: private)",
            )
        if name in ("plan", "decode"):
            _add_address(command)
        if name == "verify":
            command.add_argument(
                "--repair", action="store_true", help="regenerate missing or damaged files"
            )
        if name == "status":
            command.add_argument("--json", action="store_true", help="print JSON")
        if name == "show":
            command.add_argument(
                "--rows", type=int, default=10, help="number of samples (default 10)"
            )
            command.add_argument("--label", help="only samples of this class")
            command.add_argument(
                "--status",
                choices=get_args(Decided),
                default="accepted",
                help="which samples (default accepted)",
            )
            command.add_argument(
                "--order",
                choices=get_args(Order),
                default="random",
                help="by cosine to the point, or a random draw (default random)",
            )
    add_interpolate_command(commands, _command)
    add_play_command(commands, _command)
    check = _command(commands, "doctor", doctor, "check whether the main job can run here")
    check.add_argument(
        "--preset", default="offline", help="preset: offline or xrag-7b (default offline)"
    )
    check.add_argument("--config", metavar="FILE", help="YAML file of settings")
    check.add_argument(
        "--cluster", action="store_true", help="check every node of the Ray cluster instead"
    )
    check.add_argument("overrides", nargs="*", metavar="section.key=value", help="any setting")
    add_bridge_commands(commands, _command)
    add_evaluation_commands(commands, _command)
    add_directions_command(commands, _command)
    helps = {action.dest: action.help or "" for action in commands._choices_actions}
    parser.description = overview(DESCRIPTION, helps)
    return parser


def _command(commands: Any, name: str, function: Callable[..., int], text: str) -> Any:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(command=function)
    return command


def _add_run_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    where = add(
        "--input",
        metavar="PATH",
        help="file, directory, glob, URI, Hugging Face dataset, or - for standard input",
    )
    where.complete = shtab.FILE  # type: ignore[attr-defined]
    add(
        "--input-format",
        choices=get_args(TextFormat),
        help="format of standard input, or of files without a known extension",
    )
    where = add("--output", metavar="RUN", help="run directory; an existing run is resumed")
    where.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    add("--text-column", metavar="NAME", help="default: text")
    add("--label-column", metavar="NAME", help="default: label")
    add("--label-columns", nargs="+", metavar="NAME", help="columns of 0 and 1, one per label")
    add("--id-column", metavar="NAME", help="default: rows are numbered")
    add("--preset", default="offline", metavar="NAME", help="offline or xrag-7b (default offline)")
    add("--config", metavar="FILE", help="YAML file of settings")
    add(
        "--sampling-strategy",
        metavar="S",
        help="as in imbalanced-learn: auto, minority, 'not majority', all, a number for two "
        "classes, or JSON of final counts such as '{\"spam\": 500}' (default auto)",
    )
    add(
        "--k-neighbors",
        type=int,
        metavar="K",
        help="number of nearest neighbors to draw from (default 5)",
    )
    add("--seed", type=int, metavar="N", help="random seed for planning and decoding (default 0)")
    add("--max-rounds", type=int, metavar="N", help="plan and decode at most N times (default 3)")
    add(
        "--adapt",
        type=float,
        metavar="MINUTES",
        help="let the bridge learn from the corpus's texts for this long before it decodes "
        "(default 0: off)",
    )
    _add_problem_options(command, " (default error)")
    _add_address(command)
    add("--dry-run", action="store_true", help="print what would be done; write nothing")
    add("--print-config", action="store_true", help="print all settings as YAML; do nothing else")
    add("overrides", nargs="*", metavar="section.key=value", help="any other setting")


def _add_expand_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--run", required=True, metavar="RUN", help="a run created by smotext augment")
    add(
        "--input",
        metavar="PATH",
        help="input with new rows (default: the run's own input, read again)",
    )
    add("--target", metavar="S", help="like --sampling-strategy of augment (default: unchanged)")
    add("--max-rounds", type=int, metavar="N", help="plan and decode at most N times")
    _add_problem_options(command)
    _add_address(command)
    add("overrides", nargs="*", metavar="section.key=value", help="any setting that may change")


def _add_address(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="Ray cluster (default: RAY_ADDRESS, or Ray on this machine)",
    )


def _add_problem_options(command: argparse.ArgumentParser, default: str = "") -> None:
    for option, problem in (
        ("--on-bad-row", "null, empty or non-string texts"),
        ("--on-singleton-class", "a class that has one distinct text"),
    ):
        text = f"what to do with {problem}{default}"
        command.add_argument(option, choices=get_args(OnProblem), help=text)


def _use_address(options: argparse.Namespace) -> None:
    """Let the option override RAY_ADDRESS; check the address before anything is loaded or read."""
    if not hasattr(options, "address"):
        return
    if options.address:
        os.environ["RAY_ADDRESS"] = options.address
    address = os.environ.get("RAY_ADDRESS")
    is_used = not getattr(options, "dry_run", False) and not getattr(options, "print_config", False)
    if address and address != "local" and is_used:
        from smotext_ray.cluster.session import check_address

        check_address(address)


def _show_any_character() -> None:
    """Escape what the terminal cannot show, so that a finished command does not fail on it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _log_to_terminal() -> None:
    if log.handlers:
        return
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    handler.setFormatter(SafeFormatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False


if __name__ == "__main__":
    sys.exit(main())
