"""The commands of a run, one function each."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from smotext_ray.cli.exit_codes import DONE, INTERNAL_ERROR, SHORT
from smotext_ray.cli.terminal import say
from smotext_ray.errors import UserError
from smotext_ray.utils.unique_keys import KeyTwice, unique_keys

if TYPE_CHECKING:
    from smotext_ray.config.schema import RunConfig
    from smotext_ray.run.directory import Run


def augment(options: argparse.Namespace) -> int:
    """``smotext augment``: all stages."""
    config = _config(options)
    if options.print_config:
        return _print_config(config)
    _require(options, config)
    if options.dry_run:
        return _dry_run(config, options.output)
    from smotext_ray.pipeline.rounds import augment as run_all

    run = run_all(config, options.output, **_executor(options))
    return _show(run)


def embed(options: argparse.Namespace) -> int:
    """``smotext embed``: check the corpus and embed it."""
    config = _config(options)
    if options.print_config:
        return _print_config(config)
    _require(options, config)
    if options.dry_run:
        return _dry_run(config, options.output)
    from smotext_ray.pipeline.rounds import embed as run_embed

    run, manifest = run_embed(config, options.output, **_executor(options))
    said = f"{manifest.embedded_rows} of {manifest.input.rows} texts"
    say(f"Embedded {said}; next: smotext plan {run.uri}")
    return DONE


def plan(options: argparse.Namespace) -> int:
    """``smotext plan``: plan the next round of an embedded run."""
    from smotext_ray.pipeline.plan import plan as run_plan
    from smotext_ray.run.lease import hold
    from smotext_ray.run.manifest import Manifest

    run = _open(options)
    with hold(run, "plan"):
        manifest = Manifest.read(run)
        if not manifest.is_embedded:
            raise UserError(
                f"The run {run.uri} has not been embedded yet; run smotext embed first."
            )
        if manifest.undecoded_round is not None:
            raise UserError(
                f"A round of {run.uri} is planned already; run: smotext decode {run.uri}"
            )
        planned = run_plan(manifest.effective_config, run, manifest, **_executor(options))
    if planned:
        say(f"Planned; next: smotext decode {run.uri}")
    else:
        say("Nothing to plan: every class is at its target, or no rounds are left.")
    return DONE


def decode(options: argparse.Namespace) -> int:
    """``smotext decode``: decode the planned round and write the result so far."""
    from smotext_ray.pipeline.rounds import decode as run_decode
    from smotext_ray.pipeline.rounds import finish
    from smotext_ray.run.lease import hold
    from smotext_ray.run.manifest import Manifest

    run = _open(options)
    with hold(run, "decode"):
        manifest = Manifest.read(run)
        decoded = run_decode(manifest.effective_config, run, manifest, **_executor(options))
        if decoded:
            finish(run, manifest)
    if not decoded:
        say(f"Nothing to decode in {run.uri}; run smotext plan first.")
        return DONE
    return _show(run)


def expand(options: argparse.Namespace) -> int:
    """``smotext expand``: add new rows to a run and top its classes up."""
    from smotext_ray.pipeline.expand import ExpansionRequest
    from smotext_ray.pipeline.expand import expand as run_expand

    request = ExpansionRequest(
        options.input,
        _strategy(options.target),
        options.max_rounds,
        options.on_singleton_class,
        options.on_bad_row,
    )
    run, done = run_expand(options.run, request, options.overrides, **_executor(options))
    if not done:
        say(f"Nothing to do: {run.uri} has all rows, and its targets are unchanged.")
        return DONE
    return _show(run)


def status(options: argparse.Namespace) -> int:
    """``smotext status``: print a run's progress."""
    from rich.console import Console

    from smotext_ray.cli.status import show_status
    from smotext_ray.run.directory import Run
    from smotext_ray.run.status import status_json

    run = Run(options.run)
    if options.json:
        print(status_json(run))
    else:
        show_status(run, Console())
    return DONE


def verify(options: argparse.Namespace) -> int:
    """``smotext verify``: check a run's files, and recreate what is missing if requested."""
    from rich.console import Console

    from smotext_ray.cli.show import show_findings
    from smotext_ray.run.directory import Run
    from smotext_ray.run.verify import how_to_fix
    from smotext_ray.run.verify import verify as check

    run = Run(options.run)
    findings = check(run)
    if options.repair and not all(finding.ok for finding in findings):
        from smotext_ray.pipeline.repair import repair

        show_findings(findings, Console())
        findings = repair(run, **_executor(options))
    show_findings(findings, Console())
    sound = all(finding.ok for finding in findings)
    say(f"The run {options.run} is {'valid' if sound else 'NOT valid'}.")
    if not sound:
        say(how_to_fix(run, findings))
    return DONE if sound else INTERNAL_ERROR


def show(options: argparse.Namespace) -> int:
    """``smotext show``: show texts next to their parents."""
    from rich.console import Console

    from smotext_ray.cli.show import show_samples
    from smotext_ray.run.directory import Run
    from smotext_ray.run.manifest import Manifest

    run = Run(options.run)
    shown = show_samples(
        run,
        Manifest.read(run),
        Console(),
        rows=options.rows,
        label=options.label,
        status=options.status,
        order=options.order,
    )
    if not shown:
        say(f"No {options.status} samples in {options.run}.")
    return DONE


def card(options: argparse.Namespace) -> int:
    """``smotext card``: write the dataset card of a run's result."""
    from smotext_ray.run.card import write_card
    from smotext_ray.run.directory import Run

    file = write_card(Run(options.run), license=options.license, overwrite=options.overwrite)
    say(f"Wrote {file}; read it, then share the result with: smotext push {options.run} REPO_ID")
    return DONE


def push(options: argparse.Namespace) -> int:
    """``smotext push``: upload a run's result and its card."""
    from smotext_ray.run.directory import Run
    from smotext_ray.run.push import push_result

    name = push_result(Run(options.run), options.repo_id, private=not options.public)
    seen = "in a public repository" if options.public else "in a private repository"
    say(f'The result is on the hub, {seen}; load it with: datasets.load_dataset("{name}")')
    return DONE


def doctor(options: argparse.Namespace) -> int:
    """``smotext doctor``: check whether the main job can run here, or on the cluster."""
    from smotext_ray.config.load import load_config

    config = load_config(options.preset, options.config, options.overrides)
    if options.cluster:
        from smotext_ray.cli.cluster_checks import run as diagnose_cluster

        return diagnose_cluster(config)
    from smotext_ray.cli.doctor import run as diagnose

    return diagnose(config)


def _dry_run(config: RunConfig, output: str | None) -> int:
    from rich.console import Console

    from smotext_ray.cli.estimate import show_estimate
    from smotext_ray.pipeline.preflight import check_feasible, survey_input
    from smotext_ray.run.directory import Run
    from smotext_ray.run.opening import has_manifest
    from smotext_ray.run.output import check_output

    if output and not has_manifest(Run(output)):
        check_output(config.input.path, Run(output))
    survey = survey_input(config)
    points = check_feasible(
        survey.class_counts,
        config,
        singletons=survey.singletons,
        names=survey.class_names,
        is_multilabel=survey.is_multilabel,
    )
    show_estimate(survey, points, config, Console())
    return DONE


def _config(options: argparse.Namespace) -> RunConfig:
    from smotext_ray.config.load import load_config

    given = {
        "input.path": options.input,
        "input.format": options.input_format,
        "input.text_column": options.text_column,
        "input.label_column": options.label_column,
        "input.label_columns": options.label_columns,
        "input.id_column": options.id_column,
        "input.on_bad_row": options.on_bad_row,
        "plan.sampling_strategy": _strategy(options.sampling_strategy),
        "plan.seed": options.seed,
        "plan.max_rounds": options.max_rounds,
        "adapt.minutes": options.adapt,
        "neighbors.k_neighbors": options.k_neighbors,
        "neighbors.on_singleton_class": options.on_singleton_class,
    }
    return load_config(
        options.preset,
        options.config,
        options.overrides,
        {key: value for key, value in given.items() if value is not None},
    )


def _strategy(text: str | None) -> Any:
    """Parse a strategy: a name, or JSON of a number or of final counts."""
    if text is None:
        return None
    try:
        value = json.loads(text, object_pairs_hook=unique_keys)
    except KeyTwice as error:
        from smotext_ray.plan.strategy import twice_sentence

        raise UserError(twice_sentence(error.args[0])) from None
    except ValueError:
        if text.lstrip().startswith("{"):
            raise UserError(
                f"--sampling-strategy {text!r} is not JSON; write it as '{{\"class\": 100}}'."
            ) from None
        return text
    is_known = isinstance(value, (int, float, dict)) and not isinstance(value, bool)
    return value if is_known else text  # the strategy's own check reports it


def _open(options: argparse.Namespace) -> Run:
    """An existing run; its manifest must be read again once the lease is held."""
    from smotext_ray.run.directory import Run
    from smotext_ray.run.log import log_to_run
    from smotext_ray.run.manifest import Manifest

    run = Run(options.run)
    Manifest.read(run)
    log_to_run(run)
    return run


def _show(run: Run) -> int:
    """Print the outcome of a run with a result; the command's exit code."""
    from rich.console import Console

    from smotext_ray.cli.show import show_outcome
    from smotext_ray.run.manifest import Manifest

    manifest = Manifest.read(run)
    show_outcome(run, manifest, Console())
    return SHORT if manifest.shortfall else DONE


def _executor(options: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments with the executor, if not the default one."""
    return {} if options.executor is None else {"executor": options.executor}


def _require(options: argparse.Namespace, config: RunConfig) -> None:
    """Report all missing options at once."""
    needed = {"--input": config.input.path, "--output": options.output or options.dry_run}
    missing = [name for name, given in needed.items() if not given]
    what = {"--input": "a file, directory or URI", "--output": "the run directory"}
    if missing:
        listed = " and ".join(f"{what[name]} with {name}" for name in missing)
        raise UserError(f"Name {listed}.")


def _print_config(config: RunConfig) -> int:
    """Print the settings as YAML that ``--config`` accepts."""
    import yaml

    from smotext_ray.cli.terminal import say
    from smotext_ray.config.stored import config_json

    say(yaml.safe_dump(config_json(config), sort_keys=False, allow_unicode=True).rstrip())
    return DONE
