"""The run: corpus, embed, plan, decode, rounds, result. Each stage can be killed and repeated."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pyarrow.fs import LocalFileSystem

from smotext_ray import cluster
from smotext_ray.actors import ENCODE_CHUNK, EncodeActor, PlanActor
from smotext_ray.config import RunConfig, config_json
from smotext_ray.corpus import Survey, stage_corpus, survey_corpus, without_other_columns
from smotext_ray.decoding import decode_directory
from smotext_ray.errors import UserError
from smotext_ray.models import check_models
from smotext_ray.noise.directions import check_directions
from smotext_ray.noise.mechanism import promise
from smotext_ray.noise.stage import NOISED, check_input, denoise
from smotext_ray.plan import check_class_sizes, shards, targets
from smotext_ray.plan_files import group_item
from smotext_ray.progress import stage_progress
from smotext_ray.ray_data import read_checkpointed, set_up_data, write
from smotext_ray.reference import DIRECTORY as REFERENCE
from smotext_ray.reference import build_reference, distinct_texts
from smotext_ray.result import write_input_schema, write_result
from smotext_ray.run import MANIFEST, Run, new_manifest, open_run
from smotext_ray.samples import tally

log = logging.getLogger("smotext_ray")

MOST_FILES = 4096  # of one stage, however large the corpus
LEAST_ACCEPTANCE = 0.1  # a class does not get more than ten points for each text it lacks


def augment(config: RunConfig, uri: str) -> Run:
    """Run, or go on with, all stages: the whole of ``smotext augment``.

    Parameters
    ----------
    config : RunConfig
    uri : str
        The run directory.

    Returns
    -------
    Run
        Its manifest tells the outcome; ``manifest["short"]`` lists the classes that fell
        short of their targets.
    """
    run = embed(config, uri)
    if is_finished(run.manifest, config):
        log.info("%s is finished already", uri)
        return run
    while True:
        undecoded = _undecoded_round(run.manifest)
        if undecoded is None:
            if not plan(config, run):
                break
        else:
            decode(config, run)
    finish(run)
    return run


def embed(config: RunConfig, uri: str) -> Run:
    """Stage the corpus and embed it."""
    models = check_models(config)
    if _has_epsilon(config):
        digest = models["encoder"]["sha256"]
        models["directions"] = check_directions(config.privacy, config.encoder, digest)
    run = open_run(uri, config, models)
    survey = None
    if run.has(MANIFEST):
        run.save(run.manifest | {"config": config_json(config)})  # the free settings may differ
    else:
        survey = _start(config, run, models)
    log_to_run(run)
    _stage_corpus(config, run, survey)
    _embed(config, run)
    if _has_epsilon(config):
        _denoise(config, run)
    _reference(run)
    return run


def is_finished(manifest: dict[str, Any], config: RunConfig) -> bool:
    """Whether there is a result, and no class that another round could help."""
    if "result" not in manifest["stages"]:
        return False
    return not manifest["short"] or len(manifest["rounds"]) >= config.plan.max_rounds


def survey_input(config: RunConfig) -> Survey:
    """Check the input; with epsilon, as if it held no columns but text and label."""
    survey = survey_corpus(config.input)
    if not _has_epsilon(config):
        return survey
    check_input(config, survey)
    return without_other_columns(survey, config.input)


def _start(config: RunConfig, run: Run, models: dict[str, Any]) -> Survey:
    survey = survey_input(config)
    # What cannot be done is refused here, before anything is written.
    check_feasible(survey.class_counts, config)
    resources = cluster.connect()
    cluster.encoder_pool(resources, config, blocks=MOST_FILES)
    cluster.decoder_pools(resources, config, blocks=MOST_FILES)
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
    if _has_epsilon(config):
        manifest["privacy"] = promise(config.privacy)
    run.save(manifest)
    return survey


def check_feasible(class_counts: dict[Any, int], config: RunConfig) -> dict[Any, int]:
    """New points per class; refuses a strategy, or a class of one row, that cannot be served.

    A class of several rows may still hold one distinct text only, which shows later.
    """
    points, _ = check_class_sizes(
        class_counts,
        new_points(class_counts, config),
        config.neighbors.k_neighbors,
        config.neighbors.lonely_class,
    )
    return points


def new_points(class_counts: dict[Any, int], config: RunConfig) -> dict[Any, int]:
    """Texts that each class lacks, as the sampling strategy has it."""
    return targets(class_counts, config.plan.sampling_strategy)


def _stage_corpus(config: RunConfig, run: Run, survey: Survey | None) -> None:
    manifest = run.manifest
    if "corpus" in manifest["stages"]:
        return
    started = time.monotonic()
    run.clear("corpus")
    survey = survey or survey_input(config)
    if survey.rows != manifest["input"]["rows"]:
        raise UserError(f"{config.input.path} has changed since the run began; use a new --output.")
    least = max(config.resources.embed_rows_per_block, math.ceil(survey.rows / MOST_FILES))
    rows = math.ceil(least / ENCODE_CHUNK) * ENCODE_CHUNK
    stage_corpus(config.input, survey, run.fs, run.make("corpus"), rows_per_file=rows)
    write_input_schema(run, survey.schema)
    done(run, "corpus", rows=survey.rows, seconds=time.monotonic() - started)


def _embed(config: RunConfig, run: Run) -> None:
    if "embed" in run.manifest["stages"]:
        return
    resources = cluster.connect()
    blocks = len(run.table("corpus").files)
    pool = cluster.encoder_pool(resources, config, blocks)
    total = run.manifest["input"]["rows"]
    started = time.monotonic()
    with stage_progress("embed", total) as counter:
        corpus = read_checkpointed(
            run, "corpus", blocks, columns=["id", "text", "label"], job="embed"
        )
        embedded = corpus.map_batches(
            EncodeActor,
            fn_constructor_args=(config, counter),
            batch_size=None,
            batch_format="pyarrow",
            **cluster.pool_options(pool),
        )
        write(embedded, run, NOISED if _has_epsilon(config) else "embeddings")
    seconds = time.monotonic() - started
    done(run, "embed", rows=total, seconds=seconds, actors=pool.actors)


def _denoise(config: RunConfig, run: Run) -> None:
    if "denoise" not in run.manifest["stages"]:
        run.clear("corpus")  # from here on no stage has a text of it
        started = time.monotonic()
        cluster.connect()
        _in_task(denoise, config, run, list(class_counts(run.manifest)))
        done(run, "denoise", seconds=time.monotonic() - started)
    run.clear(NOISED)  # not before the stage is done, which a kill would undo


def _reference(run: Run) -> None:
    if "reference" in run.manifest["stages"]:
        return
    started = time.monotonic()
    cluster.connect()
    _in_task(build_reference, run, list(class_counts(run.manifest)))
    done(run, REFERENCE, seconds=time.monotonic() - started)


def plan(config: RunConfig, run: Run) -> bool:
    """Plan the next round; False where nothing is left to plan."""
    manifest = run.manifest
    lacking = _lacking(config, run, manifest)
    if not lacking or len(manifest["rounds"]) >= config.plan.max_rounds:
        return False
    round_ = len(manifest["rounds"]) + 1
    first_id = sum(planned_points(entry) for entry in manifest["rounds"])
    groups = shards(lacking, round_, first_id, config.resources.plan_points_per_file)
    items = [group_item(round_, i, group) for i, group in enumerate(groups)]
    started = time.monotonic()
    files = _plan_files(config, run, items, sum(lacking.values()))
    manifest["rounds"].append(
        {
            "round": round_,
            "planned": to_pairs(lacking),
            "plan_seconds": time.monotonic() - started,
            "plan_files": files,
        }
    )
    run.save(manifest)
    return True


def _plan_files(
    config: RunConfig, run: Run, items: list[dict[str, str]], points: int
) -> dict[str, str]:
    import ray

    resources = cluster.connect()
    pool = cluster.planner_pool(resources, len(items))
    with stage_progress("plan", points) as counter:
        set_up_data(None, None)
        written = (
            ray.data.from_items(items, override_num_blocks=len(items))
            .map(
                PlanActor,
                fn_constructor_args=(config, run.uri, counter),
                **cluster.pool_options(pool),
            )
            .take_all()  # one row a file
        )
    return {row["file"]: row["sha256"] for row in sorted(written, key=lambda row: row["file"])}


def decode(config: RunConfig, run: Run) -> bool:
    """Decode the round that is planned and not decoded; False where there is none."""
    manifest = run.manifest
    round_ = _undecoded_round(manifest)
    if round_ is None:
        return False
    name = f"round-{round_}"
    facts = decode_directory(
        config,
        run,
        plan=f"plan/{name}",
        samples=f"samples/{name}",
        job=f"decode-{round_}",
        stage=f"decode {name}",
        points=planned_points(manifest["rounds"][round_ - 1]),
    )
    rounds = [int(entry["round"]) for entry in manifest["rounds"]]
    manifest["rounds"][round_ - 1]["decode"] = facts | _in_task(tally, run, rounds)
    run.save(manifest)
    return True


def finish(run: Run) -> None:
    """Write the augmented corpus and say which classes fell short."""
    cluster.connect()
    started = time.monotonic()
    manifest = run.manifest
    wanted, got = dict(manifest["targets"]), accepted(manifest)
    manifest["short"] = [
        [label, number - got.get(label, 0)]
        for label, number in wanted.items()
        if got.get(label, 0) < number
    ]
    manifest["result"] = _in_task(write_result, run, manifest, wanted)
    run.save(manifest)
    done(run, "result", seconds=time.monotonic() - started)


def _has_epsilon(config: RunConfig) -> bool:
    return config.privacy.epsilon is not None


def _undecoded_round(manifest: dict[str, Any]) -> int | None:
    for entry in manifest["rounds"]:
        if "decode" not in entry:
            return int(entry["round"])
    return None


def _lacking(config: RunConfig, run: Run, manifest: dict[str, Any]) -> dict[Any, int]:
    """Points to plan now: what was asked for, less what is accepted, over the acceptance."""
    counts = class_counts(manifest)
    if "targets" not in manifest:
        distinct = distinct_texts(run, list(counts))
        kept, warnings = check_class_sizes(
            distinct,
            new_points(counts, config),
            config.neighbors.k_neighbors,
            config.neighbors.lonely_class,
        )
        for warning in warnings:
            log.warning(warning)
        manifest["targets"] = to_pairs(kept)
        manifest["warnings"] = warnings
        run.save(manifest)
    got = accepted(manifest)
    planned: Counter[Any] = Counter()
    for entry in manifest["rounds"]:
        planned.update(dict(entry["planned"]))
    lacking = {}
    for label, number in manifest["targets"]:
        missing = number - got.get(label, 0)
        if missing > 0:
            rate = got.get(label, 0) / planned[label] if planned[label] else 1.0
            lacking[label] = math.ceil(missing / max(rate, LEAST_ACCEPTANCE))
    return lacking


def accepted(manifest: dict[str, Any]) -> dict[Any, int]:
    """Accepted samples of each class over all rounds."""
    total: Counter[Any] = Counter()
    for entry in manifest["rounds"]:
        total.update(dict(entry.get("decode", {}).get("accepted", [])))
    return dict(total)


def planned_points(entry: dict[str, Any]) -> int:
    """Points of a round, over all classes."""
    return sum(number for _, number in entry["planned"])


def class_counts(manifest: dict[str, Any]) -> dict[Any, int]:
    """Rows of each class in the corpus."""
    return dict(manifest["input"]["class_counts"])


def to_pairs(counts: dict[Any, int]) -> list[list[Any]]:
    """A mapping as JSON that keeps the labels' types."""
    return [[label, int(number)] for label, number in counts.items()]


def log_to_run(run: Run) -> None:
    """Append the log to the run's ``smotext.log``, where the run is on a local disk."""
    if not isinstance(run.fs, LocalFileSystem):
        return
    handler = logging.FileHandler(run.at("smotext.log"), delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)


def done(run: Run, stage: str, **facts: Any) -> None:
    """Note in the manifest that a stage is done."""
    manifest = run.manifest
    manifest["stages"][stage] = facts
    run.save(manifest)


def _in_task(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call where memory may grow with the corpus: not on the driver."""
    import ray

    return ray.get(ray.remote(num_cpus=1)(function).remote(*arguments))
