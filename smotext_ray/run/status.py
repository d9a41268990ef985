"""``smotext status``: a run's progress, rate and time left.

Everything is read from the run directory, on any machine with access: finished stages from the
manifest, the stage in progress from the files it has written.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from smotext_ray.run.claims import read_claims
from smotext_ray.run.directory import CLIPPED, Run
from smotext_ray.run.facts import Round, to_pairs
from smotext_ray.run.log import run_name
from smotext_ray.run.manifest import Manifest, StageName
from smotext_ray.run.throughput import WriteProgress, write_progress

State = Literal["done", "running", "pending"]
QUIET_SECONDS = 300.0  # without a block, if also three times the longest wait so far


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes
    ----------
    stage : str
    state : {"done", "running", "pending"}
        A stage is running if it has written rows; only the time since the last block indicates
        whether a process is working on it.
    rows, of : int or None
        Number of finished rows, and of all rows.
    rows_are_exact : bool
        False if rows are estimated from file sizes because there are many files.
    seconds : float or None
        Duration of a finished stage, since it was last resumed.
    rows_per_second, seconds_left : float or None
        For the stage in progress, after at least two writes.
    last_block : str or None
        When the stage in progress last wrote, in UTC.
    quiet_seconds : float or None
        Time since then.
    is_quiet : bool
        Whether it is so long that the run may have stopped or be stuck.
    """

    stage: str
    state: State
    rows: int | None = None
    of: int | None = None
    rows_are_exact: bool = True
    seconds: float | None = None
    rows_per_second: float | None = None
    seconds_left: float | None = None
    last_block: str | None = None
    quiet_seconds: float | None = None
    is_quiet: bool = False


def stages(run: Run, manifest: Manifest, now: float | None = None) -> list[Stage]:
    """All stages of a run known so far, in order.

    Parameters
    ----------
    run : Run
    manifest : Manifest
    now : float, optional
        Unix time in seconds; default: this machine's clock.
    """
    now = time.time() if now is None else now
    rows = manifest.input.rows
    embedded = manifest.embedded_rows
    found = [_once("corpus", manifest, rows), _embed(run, manifest, embedded, now)]
    if manifest.is_private:
        found.append(_once("release", manifest, rows))
    found.append(_once("reference", manifest, rows))
    if manifest.config.adapt.minutes:
        texts = manifest.adapted.texts if manifest.adapted else None
        found.append(_once("adapt", manifest, texts))
    if manifest.weights is not None:
        found.append(Stage("weigh", "done", seconds=manifest.weights.seconds))
    for entry in manifest.rounds:
        plan = f"plan {entry.name}"
        found.append(Stage(plan, "done", entry.points, seconds=entry.plan_seconds))
        found.append(_decode(run, entry, now))
    if not any(stage.state == "running" for stage in found):
        found += _running_plan(run, manifest, now)
    found.append(_once("result", manifest, manifest.result.rows if manifest.result else None))
    return found


def worker(run: Run) -> dict[str, Any] | None:
    """The process that is working on the run: what, host, pid and since when.

    ``silent_seconds`` is present if its claim has expired by this machine's clock: it died on
    another machine, or the clocks differ.
    """
    now = time.time()
    for claim in read_claims(run):
        if not claim.facts.get("held") or claim.has_died:
            continue
        found = {key: claim.facts.get(key) for key in ("what", "host", "pid", "since")}
        silent = now - claim.renewed
        return found | ({"silent_seconds": round(silent)} if claim.is_over(now) else {})
    return None


def status_json(run: Run) -> str:
    """The status as one JSON object."""
    manifest = Manifest.read(run)
    return json.dumps(
        {
            "run": run.shown,
            "name": run_name(run),
            "created": manifest.created,
            "worker": worker(run),
            "stages": [asdict(stage) for stage in stages(run, manifest)],
            "shortfall": to_pairs(manifest.shortfall),
        },
        indent=2,
    )


def _once(name: StageName, manifest: Manifest, rows: int | None) -> Stage:
    """A stage without visible progress until it is done."""
    facts = manifest.stages.get(name)
    if not facts:
        return Stage(name, "pending")
    return Stage(name, "done", rows, seconds=facts.seconds)


def _embed(run: Run, manifest: Manifest, rows: int, now: float) -> Stage:
    if "embed" in manifest.stages:
        return _once("embed", manifest, rows)
    directory = CLIPPED if manifest.is_private else "embeddings"
    there = write_progress(run, directory)
    return _running("embed", there, rows, now) if there.rows else Stage("embed", "pending")


def _decode(run: Run, entry: Round, now: float) -> Stage:
    stage, points, facts = f"decode {entry.name}", entry.points, entry.decode
    if facts is not None:
        return Stage(stage, "done", points, points, seconds=facts.seconds)
    there = write_progress(run, "samples", entry.name)
    return _running(stage, there, points, now) if there.rows else Stage(stage, "pending", 0, points)


def _running_plan(run: Run, manifest: Manifest, now: float) -> list[Stage]:
    """A plan with files that is not yet in the manifest, so its number of rows is unknown."""
    if "embed" not in manifest.stages or "result" in manifest.stages:
        return []
    name = f"round-{len(manifest.rounds) + 1}"
    there = write_progress(run, "plan", name)
    return [_running(f"plan {name}", there, None, now)] if there.rows else []


def _running(stage: str, there: WriteProgress, of: int | None, now: float) -> Stage:
    left = None
    if of is not None and there.rows_per_second:
        left = max(0, of - there.rows) / there.rows_per_second
    quiet = None if there.last is None else max(0.0, now - there.last)  # clocks differ
    return Stage(
        stage,
        "running",
        there.rows,
        of,
        rows_are_exact=there.is_exact,
        rows_per_second=there.rows_per_second,
        seconds_left=left,
        last_block=None if there.last is None else _utc(there.last),
        quiet_seconds=quiet,
        is_quiet=quiet is not None and quiet > max(QUIET_SECONDS, 3 * there.longest_gap),
    )


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
