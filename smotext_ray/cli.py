"""The command line: ``smotext augment`` and its stages.

Exit codes: 0 done; 1 a fault of the system; 2 the user's input; 3 finished, but some
class fell short of its target.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import shtab

from smotext_ray import __version__
from smotext_ray.bridge.commands import add_bridge_commands
from smotext_ray.errors import UserError
from smotext_ray.evaluation.commands import add_evaluation_commands
from smotext_ray.wrapped_errors import innermost, users_error

if TYPE_CHECKING:
    from smotext_ray.actors import Actors
    from smotext_ray.config import RunConfig
    from smotext_ray.run import Run

DONE, FAULT, USER_ERROR, SHORT = 0, 1, 2, 3
INTERRUPTED = 130
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


def augment(options: argparse.Namespace) -> int:
    """``smotext augment``: all stages."""
    from rich.console import Console

    config = _config(options)
    if options.dry_run:
        return _dry_run(config)
    from smotext_ray.pipeline import augment as run_all
    from smotext_ray.view import show_outcome

    run = run_all(config, _output(options), **_actors(options))
    show_outcome(run, Console())
    return SHORT if run.manifest["short"] else DONE


def embed(options: argparse.Namespace) -> int:
    """``smotext embed``: check the corpus and embed it."""
    config = _config(options)
    from smotext_ray.pipeline import embed as run_embed

    run = run_embed(config, _output(options), **_actors(options))
    print(f"Embedded {run.manifest['input']['rows']} texts; next: smotext plan {run.uri}")
    return DONE


def plan(options: argparse.Namespace) -> int:
    """``smotext plan``: plan the next round of an embedded run."""
    from smotext_ray.lease import hold
    from smotext_ray.pipeline import plan as run_plan

    run, config = _open(options)
    _require(run, "embed", "run smotext embed first")
    if any("decode" not in entry for entry in run.manifest["rounds"]):
        raise UserError(f"A round of {run.uri} is planned already; run: smotext decode {run.uri}")
    with hold(run, "plan"):
        planned = run_plan(config, run, **_actors(options))
    if planned:
        print(f"Planned; next: smotext decode {run.uri}")
    else:
        print("Nothing to plan: every class is at its target, or the rounds are used up.")
    return DONE


def decode(options: argparse.Namespace) -> int:
    """``smotext decode``: decode the planned round and write the result so far."""
    from rich.console import Console

    from smotext_ray.lease import hold
    from smotext_ray.pipeline import decode as run_decode
    from smotext_ray.pipeline import finish
    from smotext_ray.view import show_outcome

    run, config = _open(options)
    with hold(run, "decode"):
        decoded = run_decode(config, run, **_actors(options))
        if decoded:
            finish(run)
    if not decoded:
        print(f"Nothing to decode in {run.uri}; run smotext plan first.")
        return DONE
    show_outcome(run, Console())
    return SHORT if run.manifest["short"] else DONE


def expand(options: argparse.Namespace) -> int:
    """``smotext expand``: take new rows into a run and top its classes up."""
    from rich.console import Console

    from smotext_ray.expansion import Wish
    from smotext_ray.expansion import expand as run_expand
    from smotext_ray.view import show_outcome

    wish = Wish(
        options.input,
        _strategy(options.target),
        options.max_rounds,
        options.lonely_class,
        options.on_bad_row,
    )
    run, done = run_expand(options.run, wish, options.overrides, **_actors(options))
    if not done:
        print(f"Nothing to do: {run.uri} has seen all rows, and its targets are as they were.")
        return DONE
    show_outcome(run, Console())
    return SHORT if run.manifest["short"] else DONE


def status(options: argparse.Namespace) -> int:
    """``smotext status``: how far a run has come."""
    from rich.console import Console

    from smotext_ray.run import Run
    from smotext_ray.status import show_status, status_json

    run = Run(options.run)
    if options.json:
        print(status_json(run))
    else:
        show_status(run, Console())
    return DONE


def verify(options: argparse.Namespace) -> int:
    """``smotext verify``: whether a run's files are sound."""
    from rich.console import Console

    from smotext_ray.run import Run
    from smotext_ray.verify import verify as check
    from smotext_ray.view import show_findings

    findings = check(Run(options.run))
    show_findings(findings, Console())
    sound = all(finding.ok for finding in findings)
    print(f"The run {options.run} is {'sound' if sound else 'NOT sound'}.")
    return DONE if sound else FAULT


def show(options: argparse.Namespace) -> int:
    """``smotext show``: texts beside their parents."""
    from rich.console import Console

    from smotext_ray.run import Run
    from smotext_ray.view import show_samples

    shown = show_samples(
        Run(options.run), Console(), rows=options.rows, label=options.label, status=options.status
    )
    if not shown:
        print(f"No {options.status} samples in {options.run}.")
    return DONE


def card(options: argparse.Namespace) -> int:
    """``smotext card``: write the data set card of a run's result."""
    from smotext_ray.dataset_card import write_card
    from smotext_ray.run import Run

    file = write_card(Run(options.run), license=options.license, overwrite=options.overwrite)
    print(f"Wrote {file}; read it, then share the result with: smotext push {options.run} REPO_ID")
    return DONE


def push(options: argparse.Namespace) -> int:
    """``smotext push``: upload a run's result and its card."""
    from smotext_ray.dataset_push import push_result
    from smotext_ray.run import Run

    name = push_result(Run(options.run), options.repo_id, private=not options.public)
    seen = "for all to see" if options.public else "in a private repository"
    print(f'The result is on the hub, {seen}; load it with: datasets.load_dataset("{name}")')
    return DONE


def doctor(options: argparse.Namespace) -> int:
    """``smotext doctor``: whether the main job can run here, or on the cluster."""
    from smotext_ray.config import load_config

    config = load_config(options.preset, options.config, options.overrides)
    if options.cluster:
        from smotext_ray.cluster_checks import run as diagnose_cluster

        return diagnose_cluster(config)
    from smotext_ray.doctor import run as diagnose

    return diagnose(config)


def _dry_run(config: RunConfig) -> int:
    from rich.console import Console

    from smotext_ray.embedding import check_feasible, survey_input
    from smotext_ray.estimate import show_estimate

    survey = survey_input(config)
    show_estimate(survey, check_feasible(survey.class_counts, config), config, Console())
    return DONE


def _config(options: argparse.Namespace) -> RunConfig:
    from smotext_ray.config import load_config

    given = {
        "input.path": options.input,
        "input.text_column": options.text_column,
        "input.label_column": options.label_column,
        "input.id_column": options.id_column,
        "input.on_bad_row": options.on_bad_row,
        "plan.sampling_strategy": _strategy(options.sampling_strategy),
        "plan.seed": options.seed,
        "plan.max_rounds": options.max_rounds,
        "neighbors.k_neighbors": options.k_neighbors,
        "neighbors.lonely_class": options.lonely_class,
    }
    return load_config(
        options.preset,
        options.config,
        options.overrides,
        {key: value for key, value in given.items() if value is not None},
    )


def _strategy(text: str | None) -> Any:
    """A strategy's name, or the JSON of a number or of final counts."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        if text.lstrip().startswith("{"):
            raise UserError(
                f"--sampling-strategy {text!r} is not JSON; write it as '{{\"class\": 100}}'."
            ) from None
        return text
    is_known = isinstance(value, (int, float, dict)) and not isinstance(value, bool)
    return value if is_known else text  # which the check of the strategy names


def _open(options: argparse.Namespace) -> tuple[Run, RunConfig]:
    from smotext_ray.config import RunConfig
    from smotext_ray.manifest import in_force
    from smotext_ray.run import Run
    from smotext_ray.structured_log import log_to_run

    run = Run(options.run)
    manifest = run.manifest
    config = in_force(RunConfig.model_validate(manifest["config"]), manifest)
    log_to_run(run)
    return run, config


def _require(run: Run, stage: str, mend: str) -> None:
    if stage not in run.manifest["stages"]:
        raise UserError(f"The run {run.uri} is not that far; {mend}.")


def _actors(options: argparse.Namespace) -> dict[str, Actors]:
    """For a function of the pipeline, which has the real ones by default."""
    return {} if options.actors is None else {"actors": options.actors}


def _output(options: argparse.Namespace) -> str:
    if not options.output:
        raise UserError("Name the run directory with --output.")
    return str(options.output)


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
                choices=["accepted", "rejected"],
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
    add("--on-bad-row", choices=["error", "skip"], help="null, empty, not text (default error)")
    add("--lonely-class", choices=["error", "skip"], help="a class of one text (default error)")
    add("--dry-run", action="store_true", help="say what would be done; write nothing")
    add("overrides", nargs="*", metavar="section.key=value", help="any other setting")


def _add_expand_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--run", required=True, metavar="RUN", help="a run that smotext augment has made")
    add("--input", metavar="PATH", help="holds new rows (default: the run's own input, grown)")
    add("--target", metavar="S", help="as --sampling-strategy of augment (default: as before)")
    add("--max-rounds", type=int, metavar="N", help="plan and decode at most N times")
    add("--on-bad-row", choices=["error", "skip"], help="null, empty, not text")
    add("--lonely-class", choices=["error", "skip"], help="a class of one text")
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
