"""The run: corpus, embed, plan, decode, rounds, result. Each stage can be killed and repeated."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any

from smotext_ray.cluster import connect
from smotext_ray.cluster.ray_data import in_task
from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.actors import REAL, Actors
from smotext_ray.pipeline.decode import decode_directory
from smotext_ray.pipeline.embed import embed_corpus
from smotext_ray.pipeline.plan import plan
from smotext_ray.pipeline.preflight import open_checked
from smotext_ray.run.directory import MANIFEST, Run
from smotext_ray.run.lease import hold
from smotext_ray.run.manifest import (
    accepted,
    in_force,
    is_expanding,
    planned_points,
    to_pairs,
    undecoded_round,
)
from smotext_ray.run.result import write_result
from smotext_ray.run.samples import tally

log = logging.getLogger("smotext_ray")


def augment(config: RunConfig, uri: str, actors: Actors = REAL) -> Run:
    """Run, or go on with, all stages: the whole of ``smotext augment``.

    Parameters
    ----------
    config : RunConfig
    uri : str
        The run directory. An expansion of it that was stopped is finished too.
    actors : Actors

    Returns
    -------
    Run
        Its manifest tells the outcome; ``manifest["shortfall"]`` lists the classes that fell
        short of their targets.
    """
    config, run, models, survey = open_checked(config, uri, actors)
    if run.has(MANIFEST) and is_finished(run.manifest, config):
        log.info("%s is finished already", uri)
        return run
    with hold(run, "augment"):
        embed_corpus(config, run, models, survey, actors)
        make_texts(in_force(config, run.manifest), run, actors)
    return run


def embed(config: RunConfig, uri: str, actors: Actors = REAL) -> Run:
    """Stage the corpus and embed it."""
    config, run, models, survey = open_checked(config, uri, actors)
    with hold(run, "embed"):
        embed_corpus(config, run, models, survey, actors)
    return run


def make_texts(config: RunConfig, run: Run, actors: Actors = REAL) -> None:
    """Plan and decode, round by round, until nothing is lacking; then the result."""
    while True:
        if undecoded_round(run.manifest) is not None:
            decode(config, run, actors)
        elif not plan(config, run, actors):
            break
    finish(run)


def is_finished(manifest: dict[str, Any], config: RunConfig) -> bool:
    """Whether there is a result, and no class that another round could help."""
    if "result" not in manifest["stages"]:
        return False
    if "expansions" in manifest:
        return not is_expanding(manifest)
    return not manifest["shortfall"] or len(manifest["rounds"]) >= config.plan.max_rounds


def decode(config: RunConfig, run: Run, actors: Actors = REAL) -> bool:
    """Decode the round that is planned and not decoded; False where there is none."""
    manifest = run.manifest
    round_ = undecoded_round(manifest)
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
        actors=actors,
    )
    rounds = [int(entry["round"]) for entry in manifest["rounds"]]
    manifest["rounds"][round_ - 1]["decode"] = facts | in_task(tally, run, rounds)
    run.save(manifest)
    return True


def finish(run: Run) -> None:
    """Write the augmented corpus and say which classes fell short."""
    connect.connect()
    started = time.monotonic()
    manifest = run.manifest
    wanted, got = dict(manifest["targets"]), accepted(manifest)
    manifest["shortfall"] = [
        [label, number - got.get(label, 0)]
        for label, number in wanted.items()
        if got.get(label, 0) < number
    ]
    manifest["result"] = in_task(write_result, run, manifest, wanted)
    if is_expanding(manifest):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        manifest["expansions"][-1] |= {"finished": now, "accepted": to_pairs(got)}
    manifest["stages"]["result"] = {"seconds": time.monotonic() - started}
    run.save(manifest)
