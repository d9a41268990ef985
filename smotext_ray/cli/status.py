"""Print ``smotext status``."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from smotext_ray.cli.show import labels_in_words, print_line, print_promise
from smotext_ray.cli.terminal import literal
from smotext_ray.run.directory import Run
from smotext_ray.run.log import run_name
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.samples import first_accepted
from smotext_ray.run.status import Stage, stages, worker

FIRST_TEXTS = 3


def show_status(run: Run, console: Console) -> None:
    """Print the run's progress."""
    manifest = Manifest.read(run)
    found = stages(run, manifest)
    title = literal(f"Run {run.shown}")
    table = Table("stage", "state", "rows", "seconds", title=title)
    for stage in found:
        seconds = "" if stage.seconds is None else f"{stage.seconds:.1f}"
        table.add_row(stage.stage, stage.state, _rows_in_words(stage), seconds)
    console.print(table)
    for stage in found:
        if stage.last_block is not None:
            print_line(console, _pace_in_words(stage))
    if found[-1].state != "done":
        _print_first_texts(run, manifest, console)
        print_line(console, _worker_in_words(worker(run)))
    print_line(console, f"Metrics and log label: {run_name(run)}.")
    print_promise(manifest, console)


def _print_first_texts(run: Run, manifest: Manifest, console: Console) -> None:
    """Some accepted texts of the round in progress."""
    entry = manifest.undecoded_round
    for row in [] if entry is None else first_accepted(run, entry.name, FIRST_TEXTS):
        text = " ".join(row["text"].split())
        print_line(console, f"New text ({labels_in_words(row, manifest)}): {text}")


def _rows_in_words(stage: Stage) -> str:
    if stage.rows is None:
        return ""
    rows = str(stage.rows) if stage.rows_are_exact else f"about {stage.rows}"
    return rows if stage.of is None else f"{rows} of {stage.of}"


def _worker_in_words(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return "No process is working on it; run the command that started it again to resume."
    who = f"process {facts['pid']} on {facts['host']}"
    if "silent_seconds" in facts:
        return (
            f"smotext {facts['what']} ({who}) has not been heard of for "
            f"{_time_in_words(facts['silent_seconds'])}, unless the clocks differ; if it has "
            "ended, run the command that started it again to resume."
        )
    return f"smotext {facts['what']} is working on it: {who}, since {facts['since']}."


def _pace_in_words(stage: Stage) -> str:
    ago = _time_in_words(stage.quiet_seconds or 0.0)
    if stage.is_quiet:
        return f"{stage.stage}: no block for {ago}; it may be stopped or stuck."
    if stage.rows_per_second is None:
        return f"{stage.stage}: first block {ago} ago; no rate yet."
    left = "" if stage.seconds_left is None else f", {_time_in_words(stage.seconds_left)} left"
    return f"{stage.stage}: {stage.rows_per_second:.3g} rows/s{left}; last block {ago} ago."


def _time_in_words(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
