"""The whole run: embed, plan, decode, rounds, result. Each stage can be killed and resumed."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.adapt import adapt_once
from smotext_ray.pipeline.complete import complete_decode
from smotext_ray.pipeline.embed import embed_corpus
from smotext_ray.pipeline.executor import Executor
from smotext_ray.pipeline.jobs import DecodeJob
from smotext_ray.pipeline.on_ray import ON_RAY
from smotext_ray.pipeline.plan import plan
from smotext_ray.pipeline.preflight import open_checked, warn_of_changed_input
from smotext_ray.run.bridge import with_own_bridge
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import Decoded, StageFacts
from smotext_ray.run.lease import hold
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.result import write_result
from smotext_ray.run.samples import summarize_round

log = logging.getLogger("smotext_ray")


def augment(config: RunConfig, uri: str, executor: Executor = ON_RAY) -> Run:
    """Run or resume all stages: implements ``smotext augment``.

    Parameters
    ----------
    config : RunConfig
    uri : str
        The run directory. An interrupted expansion is finished too.
    executor : Executor

    Returns
    -------
    Run
        Its manifest has the outcome: ``Manifest.read(run).shortfall`` has the classes that fell
        short of their targets.
    """
    opened = open_checked(config, uri, executor)
    warn_of_changed_input(opened)
    if opened.manifest is not None and opened.manifest.is_finished(opened.config):
        log.info("%s is already finished", uri)
        return opened.run
    with hold(opened.run, "augment"):
        manifest = embed_corpus(opened, executor)
        # Another process may have finished it in the meantime.
        if not manifest.is_finished(opened.config):
            make_texts(manifest.effective_config, opened.run, manifest, executor)
    return opened.run


def embed(config: RunConfig, uri: str, executor: Executor = ON_RAY) -> tuple[Run, Manifest]:
    """Stage the corpus and embed it."""
    opened = open_checked(config, uri, executor)
    with hold(opened.run, "embed"):
        return opened.run, embed_corpus(opened, executor)


def make_texts(
    config: RunConfig,
    run: Run,
    manifest: Manifest,
    executor: Executor = ON_RAY,
) -> None:
    """Plan and decode round by round until nothing is missing; then write the result."""
    while True:
        if manifest.undecoded_round is not None:
            decode(config, run, manifest, executor)
        elif not plan(config, run, manifest, executor):
            break
    finish(run, manifest, executor)


def decode(
    config: RunConfig,
    run: Run,
    manifest: Manifest,
    executor: Executor = ON_RAY,
) -> bool:
    """Decode the planned round; False if there is none."""
    entry = manifest.undecoded_round
    if entry is None:
        return False
    job = DecodeJob(
        name=f"decode-{entry.round}",
        stage=f"decode {entry.name}",
        plan=f"plan/{entry.name}",
        directory=f"samples/{entry.name}",
        rows=entry.points,
        labels=manifest.labels,
        actor=executor.actors.decode,
    )
    adapt_once(config, run, manifest, executor)
    facts = complete_decode(with_own_bridge(config, run, manifest), run, job, executor)
    so_far = [number for number in manifest.round_numbers if number <= entry.round]
    outcome = executor.call(summarize_round, run, so_far)
    entry.decode = Decoded(**dict(facts), **dict(outcome))
    manifest.save(run)
    return True


def finish(run: Run, manifest: Manifest, executor: Executor = ON_RAY) -> None:
    """Write the augmented corpus and record which classes fell short."""
    started = time.monotonic()
    wanted, got = manifest.targets or {}, manifest.accepted()
    manifest.shortfall = {
        label: number - got.get(label, 0)
        for label, number in wanted.items()
        if got.get(label, 0) < number
    }
    manifest.result = executor.call(write_result, run, manifest, wanted)
    expansion = manifest.last_expansion
    if expansion is not None and manifest.is_expanding:
        expansion.finished = datetime.now(UTC).isoformat(timespec="seconds")
        expansion.accepted = got
    manifest.stages["result"] = StageFacts(seconds=time.monotonic() - started)
    manifest.save(run)
