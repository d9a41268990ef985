"""``smotext status``: how far a run has come, how fast, and how long it will take.

All of it is read from the run directory, from any machine that reaches it: what is done from
the manifest, the stage under way from the files that it has written.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from smotext_ray.run.directory import NOISED, Run
from smotext_ray.run.lease import read_claims
from smotext_ray.run.log import run_name
from smotext_ray.run.manifest import planned_points
from smotext_ray.run.throughput import Written, written
from smotext_ray.utils.redact import without_credentials

QUIET_SECONDS = 300.0  # without a block, and three times as long as it ever was


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes
    ----------
    stage : str
    state : {"done", "running", "pending"}
        Under way is a stage that has written rows; whether a process works on it now, only
        the time since the last block can tell.
    rows, of : int or None
        Rows there are, and rows there are to be.
    rows_are_exact : bool
        False where so many files were written that rows are estimated from sizes.
    seconds : float or None
        Of a stage that is done: what it took, of a resumed one since it was resumed.
    rows_per_second, seconds_left : float or None
        Of the stage under way, once it has written twice.
    last_block : str or None
        When the stage under way last wrote, in UTC.
    quiet_seconds : float or None
        How long that is ago.
    is_quiet : bool
        Whether that is so long that the run may be stopped or stuck.
    """

    stage: str
    state: Literal["done", "running", "pending"]
    rows: int | None = None
    of: int | None = None
    rows_are_exact: bool = True
    seconds: float | None = None
    rows_per_second: float | None = None
    seconds_left: float | None = None
    last_block: str | None = None
    quiet_seconds: float | None = None
    is_quiet: bool = False


def stages(run: Run, now: float | None = None) -> list[Stage]:
    """All stages of a run that are known so far, in their order.

    Parameters
    ----------
    run : Run
    now : float, optional
        Seconds since 1970; default: this machine's clock.
    """
    manifest = run.manifest
    now = time.time() if now is None else now
    rows = manifest["input"]["rows"]
    found = [_once("corpus", manifest, rows), _embed(run, manifest, rows, now)]
    if "privacy" in manifest:
        found.append(_once("denoise", manifest, rows))
    found.append(_once("reference", manifest, rows))
    if "weights" in manifest:
        found.append(Stage("weigh", "done", seconds=manifest["weights"]["seconds"]))
    for entry in manifest["rounds"]:
        points, name = planned_points(entry), f"round-{entry['round']}"
        found.append(Stage(f"plan {name}", "done", points, seconds=entry["plan_seconds"]))
        found.append(_decode(run, entry, points, name, now))
    if not any(stage.state == "running" for stage in found):
        found += _running_plan(run, manifest, now)
    found.append(_once("result", manifest, manifest.get("result", {}).get("rows")))
    return found


def worker(run: Run) -> dict[str, Any] | None:
    """The process that works on the run: what, host, pid and since when."""
    for claim in read_claims(run):
        if claim.facts.get("held") and not claim.is_over(time.time()):
            return {key: claim.facts[key] for key in ("what", "host", "pid", "since")}
    return None


def status_json(run: Run) -> str:
    """The status for machines: one JSON object."""
    manifest = run.manifest
    return json.dumps(
        {
            "run": without_credentials(run.uri),
            "name": run_name(run),
            "created": manifest["created"],
            "worker": worker(run),
            "stages": [asdict(stage) for stage in stages(run)],
            "shortfall": manifest.get("shortfall"),
        },
        indent=2,
    )


def _once(name: str, manifest: dict[str, Any], rows: int | None) -> Stage:
    """A stage that shows nothing before it is done."""
    facts = manifest["stages"].get(name)
    if not facts:
        return Stage(name, "pending")
    return Stage(name, "done", rows, seconds=facts["seconds"])


def _embed(run: Run, manifest: dict[str, Any], rows: int, now: float) -> Stage:
    if "embed" in manifest["stages"]:
        return _once("embed", manifest, rows)
    directory = NOISED if "privacy" in manifest else "embeddings"
    there = written(run, directory)
    return _running("embed", there, rows, now) if there.rows else Stage("embed", "pending")


def _decode(run: Run, entry: dict[str, Any], points: int, name: str, now: float) -> Stage:
    stage, facts = f"decode {name}", entry.get("decode")
    if facts:
        return Stage(stage, "done", points, points, seconds=facts["seconds"])
    there = written(run, "samples", name)
    return _running(stage, there, points, now) if there.rows else Stage(stage, "pending", 0, points)


def _running_plan(run: Run, manifest: dict[str, Any], now: float) -> list[Stage]:
    """The plan that has files and is not yet in the manifest, which alone knows its rows."""
    if "embed" not in manifest["stages"] or "result" in manifest["stages"]:
        return []
    name = f"round-{len(manifest['rounds']) + 1}"
    there = written(run, "plan", name)
    return [_running(f"plan {name}", there, None, now)] if there.rows else []


def _running(stage: str, there: Written, of: int | None, now: float) -> Stage:
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
