"""The first third of a run: check the input, stage the corpus, embed it, build the reference."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from smotext_ray import cluster
from smotext_ray.actors import ENCODE_CHUNK, REAL, Actors
from smotext_ray.config import RunConfig, config_json, cpu_dtype
from smotext_ray.corpus import Survey, stage_corpus, survey_corpus, without_other_columns
from smotext_ray.errors import UserError
from smotext_ray.gpus import no_other_gpus
from smotext_ray.manifest import class_counts, corpus_files, done, last_expansion, to_pairs
from smotext_ray.noise.directions import check_directions
from smotext_ray.noise.mechanism import promise
from smotext_ray.noise.stage import NOISED, check_input, denoise
from smotext_ray.progress import stage_progress
from smotext_ray.ray_data import MOST_BLOCKS, map_blocks, read_checkpointed, write
from smotext_ray.reference import DIRECTORY as REFERENCE
from smotext_ray.reference import build_reference
from smotext_ray.restarts import bounded_restarts, lasting
from smotext_ray.result import write_input_schema
from smotext_ray.run import MANIFEST, Run, new_manifest, open_run
from smotext_ray.strategy import check_class_sizes, targets
from smotext_ray.structured_log import log_to_run
from smotext_ray.variants import check_rows
from smotext_ray.written import written

log = logging.getLogger("smotext_ray")


def open_checked(
    config: RunConfig, uri: str, actors: Actors = REAL
) -> tuple[RunConfig, Run, dict[str, Any], Survey | None]:
    """Open a run and check all that can be checked before anything is written.

    Returns
    -------
    config : RunConfig
        With the encoder's dtype settled: as the run has it, or by what its encoders will get.
    run : Run
    models : dict
        As the manifest names them.
    survey : Survey or None
        Of the input, where the run is a new one.

    Raises
    ------
    UserError
    """
    models = actors.check_models(config)
    if has_epsilon(config):
        digest = models["encoder"]["sha256"]
        models["directions"] = check_directions(config.privacy, config.encoder, digest)
    run = Run(uri)
    if run.has(MANIFEST):
        config = _with_dtype(config, run.manifest["config"]["encoder"]["dtype"])
    run = open_run(uri, config, models)
    if run.has(MANIFEST):
        return config, run, models, None
    survey = survey_input(config)
    check_feasible(survey.class_counts, config)
    resources = cluster.connect()
    encoders = cluster.encoder_pool(resources, config, blocks=MOST_BLOCKS)
    cluster.decoder_pools(resources, config, blocks=MOST_BLOCKS)
    config = _with_dtype(config, "bfloat16" if encoders.gpus else cpu_dtype())
    return config, run, models, survey


def _with_dtype(config: RunConfig, dtype: str) -> RunConfig:
    """The configuration with this dtype of the encoder, where it was left open."""
    if config.encoder.dtype != "auto":
        return config
    return config.model_copy(update={"encoder": config.encoder.model_copy(update={"dtype": dtype})})


def embed_corpus(
    config: RunConfig,
    run: Run,
    models: dict[str, Any],
    survey: Survey | None,
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


def survey_input(config: RunConfig) -> Survey:
    """Check the input; with epsilon, as if it held no columns but text and label."""
    survey = survey_corpus(config.input)
    if not has_epsilon(config):
        return survey
    check_input(config, survey)
    return without_other_columns(survey, config.input)


def check_feasible(
    class_counts: dict[Any, int], config: RunConfig, allow_reached: bool = False
) -> dict[Any, int]:
    """New points per class; refuses a strategy, or a class of one row, that cannot be served.

    So is a corpus of more rows than the variant of SMOTE takes. A class of several rows may
    still hold one distinct text only, which shows later.
    """
    check_rows(config.plan.variant, sum(class_counts.values()))
    points, _ = check_class_sizes(
        class_counts,
        targets(class_counts, config.plan.sampling_strategy, allow_reached),
        config.neighbors.k_neighbors,
        config.neighbors.lonely_class,
    )
    return points


def has_epsilon(config: RunConfig) -> bool:
    """Whether the run makes a promise of privacy."""
    return config.privacy.epsilon is not None


def rows_per_file(config: RunConfig, rows: int) -> int:
    """Rows of a corpus file, which is a block of the embed job: whole chunks of the encoder."""
    least = max(config.resources.embed_rows_per_block, math.ceil(rows / MOST_BLOCKS))
    return math.ceil(least / ENCODE_CHUNK) * ENCODE_CHUNK


def in_task(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call where memory may grow with the corpus: not on the driver. It sees no GPU."""
    import ray

    return ray.get(ray.remote(num_cpus=1)(_without_gpus).remote(function, *arguments))


def _without_gpus(function: Callable[..., Any], *arguments: Any) -> Any:
    with no_other_gpus():
        return function(*arguments)


def _start(config: RunConfig, run: Run, models: dict[str, Any], survey: Survey) -> None:
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


def _stage_corpus(config: RunConfig, run: Run, survey: Survey | None) -> None:
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
    resources = cluster.connect()
    pool = cluster.encoder_pool(resources, config, len(files))
    started = time.monotonic()
    directory = NOISED if has_epsilon(config) else "embeddings"
    there = written(run, directory, footers=None).rows
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
            **lasting(actors.encode, encoder, "encoder", restarts, config.resources),
            **cluster.pool_options(pool),
        )
        write(embedded, run, directory, pool)
    seconds = time.monotonic() - started
    done(run, "embed", rows=total, seconds=seconds, actors=pool.actors)


def _denoise(config: RunConfig, run: Run) -> None:
    if "denoise" not in run.manifest["stages"]:
        run.clear("corpus")  # from here on no stage has a text of it
        started = time.monotonic()
        cluster.connect()
        in_task(denoise, config, run, list(class_counts(run.manifest)))
        done(run, "denoise", seconds=time.monotonic() - started)
    run.clear(NOISED)  # not before the stage is done, which a kill would undo


def _reference(run: Run) -> None:
    if "reference" in run.manifest["stages"]:
        return
    started = time.monotonic()
    cluster.connect()
    in_task(build_reference, run, list(class_counts(run.manifest)))
    done(run, REFERENCE, seconds=time.monotonic() - started)
