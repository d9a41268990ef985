"""The first third of a run: stage the corpus, embed it, build the reference."""

from __future__ import annotations

import logging
import math
import time
from datetime import UTC, datetime
from typing import Any

from smotext_ray.cluster import pools, session
from smotext_ray.cluster.progress import stage_progress
from smotext_ray.cluster.ray_data import MOST_BLOCKS, in_task, map_blocks, read_checkpointed, write
from smotext_ray.cluster.restarts import bounded_restarts, supervised
from smotext_ray.config.schema import RunConfig, config_json
from smotext_ray.corpus.staging import stage_corpus
from smotext_ray.corpus.survey import CorpusSummary
from smotext_ray.errors import UserError
from smotext_ray.pipeline.actors import ENCODE_CHUNK, REAL, Actors
from smotext_ray.pipeline.denoise import denoise
from smotext_ray.pipeline.preflight import has_epsilon, survey_input
from smotext_ray.privacy.mechanism import promise
from smotext_ray.run.directory import MANIFEST, NOISED, Run
from smotext_ray.run.log import log_to_run
from smotext_ray.run.manifest import (
    class_counts,
    corpus_files,
    done,
    last_expansion,
    new_manifest,
    open_run,
    to_pairs,
)
from smotext_ray.run.reference import DIRECTORY as REFERENCE
from smotext_ray.run.reference import build_reference
from smotext_ray.run.result import write_input_schema
from smotext_ray.run.throughput import write_progress

log = logging.getLogger("smotext_ray")


def embed_corpus(
    config: RunConfig,
    run: Run,
    models: dict[str, Any],
    survey: CorpusSummary | None,
    actors: Actors = REAL,
) -> None:
    """Stage the corpus and embed it, or what is left of that; with what `open_checked` gives."""
    if not run.has(MANIFEST):
        _start(config, run, models, survey or survey_input(config))
    else:
        open_run(run.uri, config, models)  # another process may have begun it meanwhile
        run.save(run.manifest | {"config": config_json(config)})  # the free settings may differ
    log_to_run(run)
    _stage_corpus(config, run, survey)
    _embed(config, run, actors)
    if has_epsilon(config):
        _denoise(config, run)
    _reference(run)


def rows_per_file(config: RunConfig, rows: int) -> int:
    """Rows of a corpus file, which is a block of the embed job: whole chunks of the encoder."""
    least = max(config.resources.embed_rows_per_block, math.ceil(rows / MOST_BLOCKS))
    return math.ceil(least / ENCODE_CHUNK) * ENCODE_CHUNK


def _start(config: RunConfig, run: Run, models: dict[str, Any], survey: CorpusSummary) -> None:
    manifest = new_manifest(config, models, datetime.now(UTC).isoformat())
    manifest["input"] = {
        "rows": survey.rows,
        "class_counts": to_pairs(survey.class_counts),
        "bad_rows": {
            reason: {"count": bad.count, "examples": list(bad.examples)}
            for reason, bad in survey.bad_rows.items()
        },
        "columns": survey.schema.names,
    }
    if has_epsilon(config):
        manifest["privacy"] = promise(config.privacy)
    run.save(manifest)


def _stage_corpus(config: RunConfig, run: Run, survey: CorpusSummary | None) -> None:
    manifest = run.manifest
    if "corpus" in manifest["stages"]:
        return
    started = time.monotonic()
    run.clear("corpus")
    survey = survey or survey_input(config)
    if survey.rows != manifest["input"]["rows"]:
        raise UserError(f"{config.input.path} has changed since the run began; use a new --output.")
    rows = rows_per_file(config, survey.rows)
    stage_corpus(config.input, survey, run.fs, run.make("corpus"), rows_per_file=rows)
    write_input_schema(run, survey.schema)
    manifest["input"]["files"] = len(run.table("corpus").files)
    manifest["stages"]["corpus"] = {"rows": survey.rows, "seconds": time.monotonic() - started}
    run.save(manifest)


def _embed(config: RunConfig, run: Run, actors: Actors) -> None:
    manifest = run.manifest
    if "embed" in manifest["stages"]:
        return
    # Of an expansion the files and the checkpoint are its own: what was embedded before
    # is not read again.
    expansion = last_expansion(manifest)
    before = expansion["files_before"] if expansion else 0
    job = f"embed-expansion-{expansion['number']}" if expansion else "embed"
    total = expansion["new_rows"] if expansion else manifest["input"]["rows"]
    files = corpus_files(run, manifest)[before:]
    resources = session.connect()
    pool = pools.encoder_pool(resources, config, len(files))
    started = time.monotonic()
    directory = NOISED if has_epsilon(config) else "embeddings"
    there = write_progress(run, directory, footers=None).rows
    with (
        stage_progress("embed", manifest["input"]["rows"], run, before=there) as counter,
        bounded_restarts(
            config.resources, lower="resources.encoder_actors", counter=counter
        ) as restarts,
    ):
        encoder = {"config": config, "counter": counter}
        columns = ["id", "text", "label"]
        corpus = read_checkpointed(run, files, len(files), columns, job, pool)
        embedded = map_blocks(
            corpus,
            **supervised(actors.encode, encoder, "encoder", restarts, config.resources),
            **pools.pool_options(pool),
        )
        write(embedded, run, directory, pool)
    seconds = time.monotonic() - started
    done(run, "embed", rows=total, seconds=seconds, actors=pool.actors)


def _denoise(config: RunConfig, run: Run) -> None:
    if "denoise" not in run.manifest["stages"]:
        run.clear("corpus")  # from here on no stage has a text of it
        started = time.monotonic()
        session.connect()
        in_task(denoise, config, run, list(class_counts(run.manifest)))
        done(run, "denoise", seconds=time.monotonic() - started)
    run.clear(NOISED)  # not before the stage is done, which a kill would undo


def _reference(run: Run) -> None:
    if "reference" in run.manifest["stages"]:
        return
    started = time.monotonic()
    session.connect()
    in_task(build_reference, run, list(class_counts(run.manifest)))
    done(run, REFERENCE, seconds=time.monotonic() - started)
