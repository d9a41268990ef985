"""``smotext expand``: a run takes in the rows it has not seen, and is topped up to its targets.

An expansion is noted in the manifest before its work begins, and the stages that it needs
again are no longer noted as done; so it is gone on with after a kill as any run is.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from smotext_ray.config.load import load_config
from smotext_ray.config.schema import InputConfig, RunConfig
from smotext_ray.errors import UserError
from smotext_ray.pipeline.actors import REAL, Actors
from smotext_ray.pipeline.embed import embed_corpus, rows_per_file
from smotext_ray.pipeline.new_rows import NewRows, stage_unseen
from smotext_ray.pipeline.preflight import check_feasible, has_epsilon, open_checked
from smotext_ray.pipeline.rounds import augment, is_finished, make_texts
from smotext_ray.run.directory import Run
from smotext_ray.run.lease import hold
from smotext_ray.run.manifest import (
    class_counts,
    corpus_files,
    in_force,
    is_expanding,
    rounds_used,
    to_pairs,
)
from smotext_ray.utils.redact import without_keys

log = logging.getLogger("smotext_ray")


@dataclass(frozen=True)
class Wish:
    """What an expansion is asked for; None is what the run, or its last expansion, was.

    Attributes
    ----------
    input : str or None
        Where new rows are, beside rows that the run has seen. None is the run's own input,
        which may have grown.
    target : str, float, mapping or None
        Sampling strategy: what every class is to reach, new rows counted.
    max_rounds : int or None
    on_singleton_class : {"error", "skip"} or None
    on_bad_row : {"error", "skip"} or None
    """

    input: str | None = None
    target: Any = None
    max_rounds: int | None = None
    on_singleton_class: str | None = None
    on_bad_row: str | None = None


def expand(
    uri: str, wish: Wish, overrides: Sequence[str] = (), actors: Actors = REAL
) -> tuple[Run, bool]:
    """Embed the rows that are new to a run, and top every class up to its target.

    Parameters
    ----------
    uri : str
        The run directory. What is under way there is finished first.
    wish : Wish
    overrides : sequence of str
        ``section.key=value``, of settings that a run may change.
    actors : Actors

    Returns
    -------
    run : Run
    done : bool
        False where there was nothing to do.

    Raises
    ------
    UserError
        If another process works on the run, the input does not fit it, a setting may not
        change, or the run has an epsilon and new rows are given.
    """
    run = Run(uri)
    config = load_config(overrides=overrides, base=RunConfig.model_validate(run.manifest["config"]))
    if has_epsilon(config) and wish.input is not None:
        raise UserError(
            f"{uri} has an epsilon, and has kept nothing to tell new rows from old ones by; "
            "leave --input out, or make a run of the new rows alone."
        )
    if not is_finished(run.manifest, config):
        log.info("%s is not finished; that comes first", uri)
        _finish(wish, config, run, actors)
    config, run, models, _ = open_checked(config, uri, actors)
    with hold(run, "expand"):
        manifest = run.manifest
        files = [] if has_epsilon(config) else corpus_files(run, manifest)
        found = _stage(wish, config, run, files) if files else NewRows()
        entry = _entry(wish, config, manifest, found) | {"files_before": len(files)}
        if found.changed:
            log.warning(
                "%d rows have another text or label than in the run, which keeps its own",
                found.changed,
            )
        if _is_idle(entry, config, manifest):
            return run, False
        _begin(entry, config, run, manifest, found)
        embed_corpus(config, run, models, None, actors)
        make_texts(in_force(config, run.manifest), run, actors)
    return run, True


def _finish(wish: Wish, config: RunConfig, run: Run, actors: Actors) -> None:
    if wish.on_singleton_class and is_expanding(run.manifest):  # it may be what the run stopped at
        with hold(run, "expand"):
            manifest = run.manifest
            manifest["expansions"][-1]["on_singleton_class"] = wish.on_singleton_class
            run.save(manifest)
    augment(config, run.uri, actors)


def _stage(wish: Wish, config: RunConfig, run: Run, files: list[str]) -> NewRows:
    given = {"path": wish.input, "on_bad_row": wish.on_bad_row}
    changed = {key: value for key, value in given.items() if value is not None}
    source = InputConfig.model_validate(config.input.model_dump() | changed)
    rows = rows_per_file(config, run.manifest["input"]["rows"])
    found = stage_unseen(source, run, files, rows)
    log.info("%s: %d rows, %d of them new", source.path, found.read, found.new)
    return found


def _entry(
    wish: Wish, config: RunConfig, manifest: dict[str, Any], found: NewRows
) -> dict[str, Any]:
    """What the manifest says of an expansion when it begins."""
    now = in_force(config, manifest)
    target = wish.target if wish.target is not None else now.plan.sampling_strategy
    return {
        "number": len(manifest.get("expansions", [])) + 1,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "input": without_keys(wish.input if wish.input is not None else config.input.path),
        "rows_read": found.read,
        "new_rows": found.new,
        "changed_rows": found.changed,
        "rounds_before": len(manifest["rounds"]),
        # As the config keeps it: labels as text.
        "target": load_config(
            options={"plan.sampling_strategy": target}, base=config
        ).plan.sampling_strategy,
        "max_rounds": wish.max_rounds or config.plan.max_rounds,
        "on_singleton_class": wish.on_singleton_class or now.neighbors.on_singleton_class,
    }


def _is_idle(entry: dict[str, Any], config: RunConfig, manifest: dict[str, Any]) -> bool:
    """Whether the run has seen all rows, and all that this target can bring."""
    now = in_force(config, manifest)
    same = entry["target"] == now.plan.sampling_strategy
    used_up = rounds_used(manifest) >= entry["max_rounds"]
    return not entry["new_rows"] and same and (not manifest["shortfall"] or used_up)


def _begin(
    entry: dict[str, Any],
    config: RunConfig,
    run: Run,
    manifest: dict[str, Any],
    found: NewRows,
) -> None:
    """Note the expansion, and that its stages are to be done."""
    counts = Counter(class_counts(manifest))
    counts.update(found.class_counts)
    ordered = dict(sorted(counts.items(), key=lambda item: str(item[0])))
    manifest = manifest | {"expansions": [*manifest.get("expansions", []), entry]}
    check_feasible(ordered, in_force(config, manifest), allow_reached=True)
    stages = dict(manifest["stages"])
    del stages["result"]
    if found.new:
        manifest["input"] = manifest["input"] | {
            "rows": manifest["input"]["rows"] + found.new,
            "class_counts": to_pairs(ordered),
            "files": entry["files_before"] + found.files,
        }
        del stages["embed"], stages["reference"]
    manifest["stages"] = stages
    del manifest["targets"]
    run.save(manifest)
