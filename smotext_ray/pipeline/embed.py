"""The first stage of a run: stage the corpus, embed it, build the reference."""

from __future__ import annotations

import logging
import math
import time
from datetime import UTC, datetime

from smotext_ray.cluster.ray_data import MOST_BLOCKS
from smotext_ray.config.schema import RunConfig
from smotext_ray.corpus.staging import stage_corpus
from smotext_ray.corpus.survey import CorpusSummary
from smotext_ray.errors import UserError
from smotext_ray.pipeline.actors import ENCODE_CHUNK
from smotext_ray.pipeline.complete import complete_embed
from smotext_ray.pipeline.executor import Executor
from smotext_ray.pipeline.jobs import EmbedJob
from smotext_ray.pipeline.needed import ChosenRows, choose_rows, rows_to_embed, whole_classes
from smotext_ray.pipeline.on_ray import ON_RAY
from smotext_ray.pipeline.preflight import Opened, has_epsilon, input_of, survey_input
from smotext_ray.pipeline.release import release_corpus
from smotext_ray.pipeline.wanted import wanted_texts
from smotext_ray.privacy.promise import promise
from smotext_ray.run.corpus_files import corpus_files
from smotext_ray.run.directory import CLIPPED, TO_EMBED, Run
from smotext_ray.run.facts import BadRows, InputFacts, StageFacts
from smotext_ray.run.log import log_to_run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import check_same, existing_manifest, new_manifest
from smotext_ray.run.reference import build_reference
from smotext_ray.run.result import write_input_schema

log = logging.getLogger("smotext_ray")


def embed_corpus(opened: Opened, executor: Executor = ON_RAY) -> Manifest:
    """Stage and embed the corpus, or what is missing; the caller holds the run's lease."""
    config, run = opened.config, opened.run
    # Another process may have started the run since it was opened.
    manifest = existing_manifest(run)
    if manifest is None:
        manifest = _begun(opened)
    else:
        check_same(run, manifest, config, opened.models)
        manifest.config = config  # settings that may change may differ
    manifest.save(run)
    if not manifest.is_private:
        log_to_run(run)
    _stage_corpus(opened, manifest)
    if not manifest.is_private and not manifest.is_embedded:
        _choose(config, run, manifest, executor)
    _embed(config, run, manifest, executor)
    run.clear(TO_EMBED)
    if manifest.is_private:
        release_corpus(config, run, manifest, executor)
        log_to_run(run)  # the earlier log has facts about the corpus
    _reference(run, manifest, executor)
    return manifest


def rows_per_file(config: RunConfig, rows: int) -> int:
    """Rows per corpus file, which is a block of the embed job: whole chunks of the encoder."""
    least = max(config.resources.embed_rows_per_block, math.ceil(rows / MOST_BLOCKS))
    return math.ceil(least / ENCODE_CHUNK) * ENCODE_CHUNK


def _begun(opened: Opened) -> Manifest:
    """The manifest of a run that starts now."""
    survey = opened.survey or survey_input(opened.config)
    facts = InputFacts(
        rows=survey.rows,
        class_counts=survey.class_counts,
        bad_rows=_bad_rows(opened.config, survey),
        columns=survey.schema.names,
        class_names=survey.class_names or None,
        multilabel=survey.is_multilabel or None,
        digest=survey.digest,
    )
    now = datetime.now(UTC).isoformat()
    manifest = new_manifest(opened.config, opened.models, now, facts)
    if has_epsilon(opened.config):
        manifest.privacy = promise(opened.config, opened.models["directions"])
    return manifest


def _bad_rows(config: RunConfig, survey: CorpusSummary) -> dict[str, BadRows]:
    if has_epsilon(config):
        return {}
    return {
        reason: BadRows(count=bad.count, examples=list(bad.examples))
        for reason, bad in survey.bad_rows.items()
    }


def _stage_corpus(opened: Opened, manifest: Manifest) -> None:
    if "corpus" in manifest.stages:
        return
    config, run = opened.config, opened.run
    started = time.monotonic()
    run.clear("corpus")
    survey = opened.survey or survey_input(config)
    noted = manifest.input
    if (survey.rows, survey.class_counts) != (noted.rows, noted.class_counts) or (
        noted.digest not in (None, survey.digest)  # a run that began before has none
    ):
        raise UserError(
            f"{config.input.shown} has changed since the run started; use a new --output."
        )
    rows = rows_per_file(config, survey.rows)
    stage_corpus(input_of(config), survey, run.fs, run.make("corpus"), rows_per_file=rows)
    write_input_schema(run, survey)
    manifest.input.files = len(run.table("corpus").files)
    manifest.input.digest = None  # it would help an attacker guess the texts of a run with epsilon
    manifest.stages["corpus"] = StageFacts(rows=survey.rows, seconds=time.monotonic() - started)
    manifest.save(run)


def _choose(config: RunConfig, run: Run, manifest: Manifest, executor: Executor) -> None:
    """Choose the rows to embed; if any are missing, stages recorded as done are run again."""
    if "choose" in manifest.stages:
        return
    started = time.monotonic()
    missing = choose(config, run, manifest, executor)
    seconds = time.monotonic() - started
    if missing:
        manifest.stages.pop("embed", None)
        manifest.stages.pop("reference", None)
    manifest.stages["choose"] = StageFacts(rows=missing, seconds=seconds)
    manifest.save(run)


def choose(config: RunConfig, run: Run, manifest: Manifest, executor: Executor) -> int:
    """Write the rows to embed to ``to_embed/``, and return their number."""
    points = {*wanted_texts(manifest.effective_config, manifest), *manifest.planned()}
    rows = manifest.input.rows
    if not manifest.is_multilabel:
        rows = sum(rows_to_embed(config, manifest.class_counts, points).values())
    chosen: ChosenRows = executor.call(
        choose_rows,
        run,
        manifest,
        corpus_files(run, manifest),
        whole_classes(config, manifest.labels, points),
        rows_per_file(config, rows),
    )
    run.seal(chosen.files, TO_EMBED)
    manifest.embedded = {label: chosen.counts[label] for label in manifest.labels}
    return chosen.missing


def _embed(config: RunConfig, run: Run, manifest: Manifest, executor: Executor) -> None:
    if "embed" in manifest.stages:
        return
    rows: int | None = manifest.input.rows
    files = corpus_files(run, manifest)
    if not manifest.is_private:
        rows, files = manifest.stages["choose"].rows, chosen_files(run)
    started = time.monotonic()
    number = embed_files(config, run, manifest, executor, files=files, job="embed")
    seconds = time.monotonic() - started
    manifest.stages["embed"] = StageFacts(rows=rows, seconds=seconds, actors=number)
    manifest.save(run)


def chosen_files(run: Run) -> list[str]:
    """The files that `choose` has written."""
    return [run.at(TO_EMBED, name) for name in run.sealed(TO_EMBED) or []]


def embed_files(
    config: RunConfig,
    run: Run,
    manifest: Manifest,
    executor: Executor,
    *,
    files: list[str],
    job: str,
) -> int | None:
    """Embed the rows of files that have no embedding yet.

    Returns
    -------
    int or None
        Number of actors that worked on it; None if no row was missing.

    Raises
    ------
    RowsMissing
        If rows that should have an embedding still have none afterwards.
    """
    directory = CLIPPED if has_epsilon(config) else "embeddings"
    work = EmbedJob(name=job, files=files, directory=directory, rows=manifest.embedded_rows)
    return complete_embed(config, run, work, executor)


def _reference(run: Run, manifest: Manifest, executor: Executor) -> None:
    if "reference" not in manifest.stages:
        build_run_reference(run, manifest, executor)


def build_run_reference(run: Run, manifest: Manifest, executor: Executor) -> None:
    """Build the gate's reference from the embeddings, and from the texts of the whole corpus."""
    started = time.monotonic()
    corpus = None if manifest.is_private else corpus_files(run, manifest)
    executor.call(build_reference, run, manifest.labels, corpus)
    manifest.stages["reference"] = StageFacts(seconds=time.monotonic() - started)
    manifest.save(run)
