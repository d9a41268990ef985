"""``smotext verify --repair``: recreate files that can be derived from a run's other tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from smotext_ray.errors import UserError
from smotext_ray.pipeline.embed import build_run_reference, choose, chosen_files, embed_files
from smotext_ray.pipeline.executor import Executor
from smotext_ray.pipeline.on_ray import ON_RAY
from smotext_ray.pipeline.plan import plan_again, settle_targets
from smotext_ray.pipeline.preflight import Opened, open_checked
from smotext_ray.pipeline.release import write_points
from smotext_ray.pipeline.rounds import decode, finish
from smotext_ray.run.directory import TO_EMBED, Run, file_sha256
from smotext_ray.run.facts import Round
from smotext_ray.run.lease import hold
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import Finding, verify

log = logging.getLogger("smotext_ray")


def repair(run: Run, executor: Executor = ON_RAY) -> list[Finding]:
    """Recreate the missing or damaged files of a run, and what was derived from them.

    Existing rows are kept. Plan files are accepted only with the digests in the manifest, and
    points that were decoded before are decoded with the same seeds.

    Parameters
    ----------
    run : Run
    executor : Executor

    Returns
    -------
    list of Finding
        The findings of a check after the repair.

    Raises
    ------
    UserError
        If something cannot be recreated, or another process is working on the run.
    """
    opened = open_checked(Manifest.read(run).config, run.uri, executor)
    with hold(opened.run, "verify --repair"):
        failed = [finding for finding in verify(opened.run) if not finding.ok]
        if failed:
            _repair(opened, failed, executor)
    return verify(run)


def _repair(opened: Opened, failed: Sequence[Finding], executor: Executor) -> None:
    run, manifest = opened.run, Manifest.read(opened.run)
    tables = {finding.check.partition(":")[0] for finding in failed}
    had_result = "result" in manifest.stages
    if beyond := [finding for finding in failed if not finding.is_repairable]:
        raise UserError(
            f"The run {run.shown} cannot be repaired ({beyond[0].check} failed: {beyond[0].seen}); "
            "restore its files from a copy, or begin again in another directory."
        )
    if "embeddings" in tables:
        _embeddings(opened, manifest, executor)
    if "weights" in tables:
        _weights(opened, manifest, executor)
    for entry in manifest.rounds:
        if f"plan {entry.name}" in tables:
            _plan(opened, manifest, entry, executor)
    first = min((e.round for e in manifest.rounds if f"samples {e.name}" in tables), default=None)
    for entry in manifest.rounds:
        if first is not None and entry.round >= first:
            # A text that repeats one of an earlier round does not count, so later rounds are
            # counted again; their rows exist already.
            entry.decode = None
    manifest.stages.pop("result", None)
    manifest.save(run)
    while manifest.undecoded_round is not None and (first is not None or not had_result):
        decode(manifest.effective_config, run, manifest, executor)
    if had_result:
        finish(run, manifest, executor)


def _embeddings(opened: Opened, manifest: Manifest, executor: Executor) -> None:
    run, config = opened.run, opened.config
    if manifest.is_private:
        log.info("drawing the points again from the release")
        run.seal(executor.call(write_points, config, run), "embeddings")
        build_run_reference(run, manifest, executor)
        return
    log.info("making the missing embeddings again")
    choose(config, run, manifest, executor)
    manifest.save(run)
    embed_files(config, run, manifest, executor, files=chosen_files(run), job="repair")
    run.clear(TO_EMBED)
    build_run_reference(run, manifest, executor)


def _weights(opened: Opened, manifest: Manifest, executor: Executor) -> None:
    run = opened.run
    log.info("weighing the texts again")
    noted, files = manifest.targets, manifest.weights.files if manifest.weights else {}
    _remove_changed(run, "", files)
    settle_targets(manifest.effective_config, run, manifest, executor)
    if manifest.targets != noted or manifest.weights is None or manifest.weights.files != files:
        raise UserError(
            f"The weights of {run.shown} cannot be made again as they were; restore weights/ from "
            "a copy."
        )


def _plan(opened: Opened, manifest: Manifest, entry: Round, executor: Executor) -> None:
    run = opened.run
    log.info("planning %s again", entry.name)
    _remove_changed(run, "plan", entry.plan_files)
    made = plan_again(manifest.effective_config, run, manifest, entry, executor)
    if made != entry.plan_files:
        raise UserError(
            f"The plan of {entry.name} in {run.shown} cannot be made again as it was: the run has "
            "been expanded since, or has other versions of its packages; restore plan/ from a copy."
        )


def _remove_changed(run: Run, directory: str, digests: dict[str, str]) -> None:
    """Remove files whose digests differ from the manifest, so that they are recreated."""
    parts = [directory] if directory else []
    for file, digest in digests.items():
        with suppress(FileNotFoundError):
            if file_sha256(run, *parts, file) != digest:
                run.check_lease()
                run.fs.delete_file(run.at(*parts, file))
