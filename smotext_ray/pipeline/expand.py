"""``smotext expand``: add new rows to a run, and top its classes up to their targets.

An expansion is recorded in the manifest before its work starts, and the stages that it needs again
are no longer recorded as done; so it resumes after a kill like any run.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from smotext_ray.config.choices import OnProblem
from smotext_ray.config.load import load_config
from smotext_ray.config.schema import InputConfig, RunConfig
from smotext_ray.errors import UserError
from smotext_ray.pipeline.embed import embed_corpus, rows_per_file
from smotext_ray.pipeline.executor import Executor
from smotext_ray.pipeline.new_rows import NewRows, stage_unseen
from smotext_ray.pipeline.on_ray import ON_RAY
from smotext_ray.pipeline.preflight import Opened, check_feasible, open_checked
from smotext_ray.pipeline.rounds import make_texts
from smotext_ray.run.corpus_files import corpus_files
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import Expansion
from smotext_ray.run.lease import hold
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import is_own
from smotext_ray.safe_text import without_keys

log = logging.getLogger("smotext_ray")


@dataclass(frozen=True)
class ExpansionRequest:
    """An expansion request; None means as in the run or its last expansion.

    Attributes
    ----------
    input : str or None
        Input with new rows, and possibly rows already seen. None means the run's own input, which
        may have grown.
    target : str, float, mapping or None
        Sampling strategy: the target of every class, counting new rows.
    max_rounds : int or None
    on_singleton_class : {"error", "skip"} or None
    on_bad_row : {"error", "skip"} or None
    """

    input: str | None = None
    target: Any = None
    max_rounds: int | None = None
    on_singleton_class: OnProblem | None = None
    on_bad_row: str | None = None


def expand(
    uri: str,
    request: ExpansionRequest,
    overrides: Sequence[str] = (),
    executor: Executor = ON_RAY,
) -> tuple[Run, bool]:
    """Embed rows that are new to a run, and top every class up to its target.

    Parameters
    ----------
    uri : str
        The run directory. An unfinished run is finished first.
    request : ExpansionRequest
    overrides : sequence of str
        ``section.key=value``, for settings that a run may change.
    executor : Executor

    Returns
    -------
    run : Run
    done : bool
        False if there was nothing to do.

    Raises
    ------
    UserError
        If another process is working on the run, the input does not match it, a setting may not
        change, or new rows are given for a run with epsilon.
    """
    run = Run(uri)
    manifest = Manifest.read(run)
    config = load_config(overrides=overrides, base=manifest.config)
    if manifest.is_private and request.input is not None:
        raise UserError(
            f"{uri} has an epsilon and has forgotten its rows; omit --input, or start a new run, "
            "which is another release of the rows."
        )
    opened = open_checked(config, uri, executor)
    with hold(opened.run, "expand"):
        # Read under the lease: another process may just have started or finished an expansion.
        manifest = Manifest.read(opened.run)
        if not manifest.is_finished(config):
            log.info("%s is not finished; finishing it first", uri)
            manifest = _finish(request, opened, manifest, executor)
        if not _begin(request, opened, manifest):
            return opened.run, False
        manifest = embed_corpus(opened, executor)
        make_texts(manifest.effective_config, opened.run, manifest, executor)
    return opened.run, True


def _finish(
    request: ExpansionRequest,
    opened: Opened,
    manifest: Manifest,
    executor: Executor,
) -> Manifest:
    run = opened.run
    if request.on_singleton_class and manifest.last_expansion is not None and manifest.is_expanding:
        # A singleton class may be what stopped the expansion.
        manifest.last_expansion.on_singleton_class = request.on_singleton_class
        manifest.save(run)
    manifest = embed_corpus(opened, executor)
    make_texts(manifest.effective_config, run, manifest, executor)
    return manifest


def _begin(request: ExpansionRequest, opened: Opened, manifest: Manifest) -> bool:
    """Stage the new rows and record the expansion; False if there is nothing to do."""
    config, run = opened.config, opened.run
    files = [] if manifest.is_private else corpus_files(run, manifest)
    found = _stage(request, config, run, manifest, files) if files else NewRows()
    entry = _entry(request, config, manifest, found, len(files))
    if found.changed:
        log.warning(
            "%d rows have a different text or label in the run, which is kept",
            found.changed,
        )
    if _is_idle(entry, manifest):
        return False
    _note(entry, run, manifest, found)
    return True


def _stage(
    request: ExpansionRequest, config: RunConfig, run: Run, manifest: Manifest, files: list[str]
) -> NewRows:
    if request.input is None:
        _check_own(run, manifest)
        if config.input.is_standard_input:
            raise UserError(
                f"{run.uri} was begun from standard input; name the new rows with --input (- for "
                "standard input)."
            )
    given = {"path": request.input, "on_bad_row": request.on_bad_row}
    changed = {key: value for key, value in given.items() if value is not None}
    source = InputConfig.model_validate(config.input.model_dump() | changed)
    rows = rows_per_file(config, manifest.input.rows)
    found = stage_unseen(source, run, files, rows)
    log.info("%s: %d rows, %d of them new", source.shown, found.read, found.new)
    return found


def _check_own(run: Run, manifest: Manifest) -> None:
    """Reject an input named only by a manifest that someone else may have written.

    Whoever can write the manifest could have any file of this user read into their run.
    """
    if not is_own(run):
        raise UserError(
            f"{run.uri} is not a directory of yours on this machine, so the input that its "
            f"manifest names ({manifest.config.input.path}) is not read; name it with --input."
        )


def _entry(
    request: ExpansionRequest, config: RunConfig, manifest: Manifest, found: NewRows, files: int
) -> Expansion:
    """The manifest entry of a new expansion."""
    now = manifest.effective_config
    target = request.target if request.target is not None else now.plan.sampling_strategy
    return Expansion(
        number=len(manifest.expansions or []) + 1,
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        input=without_keys(request.input if request.input is not None else config.input.path),
        rows_read=found.read,
        new_rows=found.new,
        changed_rows=found.changed,
        rounds_before=len(manifest.rounds),
        files_before=files,
        # As in the config: labels as strings.
        target=load_config(
            options={"plan.sampling_strategy": target}, base=config
        ).plan.sampling_strategy,
        max_rounds=request.max_rounds or config.plan.max_rounds,
        on_singleton_class=request.on_singleton_class or now.neighbors.on_singleton_class,
    )


def _is_idle(entry: Expansion, manifest: Manifest) -> bool:
    """Whether the run has all rows, and cannot get closer to this target."""
    same = entry.target == manifest.effective_config.plan.sampling_strategy
    used_up = manifest.rounds_used >= entry.max_rounds
    return not entry.new_rows and same and (not manifest.shortfall or used_up)


def _note(entry: Expansion, run: Run, manifest: Manifest, found: NewRows) -> None:
    """Record the expansion, and that its stages must run again."""
    counts = Counter(manifest.class_counts)
    counts.update(found.class_counts)
    ordered = dict(sorted(counts.items(), key=lambda item: str(item[0])))
    manifest.expansions = [*(manifest.expansions or []), entry]
    check_feasible(
        ordered,
        manifest.effective_config,
        allow_reached=True,
        names=manifest.input.class_names,
        is_multilabel=manifest.is_multilabel,
    )
    del manifest.stages["result"]
    if found.new:
        manifest.input.rows += found.new
        manifest.input.class_counts = ordered
        manifest.input.files = entry.files_before + found.files
        del manifest.stages["embed"], manifest.stages["reference"]
    manifest.stages.pop("choose", None)  # a class that now gets points needs all of its rows
    manifest.targets = manifest.together = None
    manifest.save(run)
