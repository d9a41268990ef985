"""The stage that adapts the run's bridge to its texts, once, before the first decoding."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from smotext_ray.config.schema import RunConfig
from smotext_ray.run.bridge import BRIDGE, store_bridge
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import AdaptedBridge, StageFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.tables import embeddings_table
from smotext_ray.tables import matrix

if TYPE_CHECKING:
    from smotext_ray.training.config import TrainConfig

log = logging.getLogger("smotext_ray")

MOST_TEXTS = 100_000  # drawn from the embedded ones: more than a GPU trains on in half an hour
# Low rates: the bridge already fits its encoder and LLM, and only has to learn the language.
LEARNING_RATE, LORA_LEARNING_RATE = 3e-4, 1e-4
TOKENS_PER_STEP = 1000
BATCH_TOKENS_ON_GPU = 16_384


def adapt_once(config: RunConfig, run: Run, manifest: Manifest, executor: Any) -> None:
    """Adapt the bridge if the run is configured to and has not done so yet.

    A killed adaptation leaves nothing behind: the next process starts again, for the same minutes.
    """
    if not config.adapt.minutes or "adapt" in manifest.stages:
        return
    run.clear(BRIDGE)
    started = time.monotonic()
    found = executor.adapt(config, run, manifest.embedded_rows)
    run.sync([run.at(file) for file in found["files"]])
    manifest.adapted = AdaptedBridge.model_validate(found)
    manifest.stages["adapt"] = StageFacts(
        rows=manifest.adapted.texts, seconds=time.monotonic() - started
    )
    manifest.save(run)
    log.info("%s", manifest.adapted.in_words())


def adapt_bridge(config: RunConfig, run_uri: str, counter: Any) -> dict[str, Any]:
    """Train the run's bridge on its embedded texts, and write it to the run if it is kept.

    Parameters
    ----------
    config : RunConfig
    run_uri : str
    counter : actor handle
        Is told about the progress.

    Returns
    -------
    dict
        The fields of `AdaptedBridge`.
    """
    from smotext_ray.models.load import load_encoder
    from smotext_ray.training.adapt import adapt

    run = Run(run_uri)
    texts, embeddings = embedded_texts(run, config.plan.seed)
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, BRIDGE)
        done = adapt(
            texts,
            embeddings,
            training_config(config),
            load_encoder(config),
            config.adapt.minutes,
            output,
            max_tokens=config.decoder.max_tokens,
            log=counter.phase.remote,
        )
        counter.add.remote(done.texts - done.held_out)
        files = store_bridge(run, output) if done.is_kept else {}
    names = ("texts", "held_out", "replayed", "steps", "cosine_before", "cosine_after")
    return {name: getattr(done, name) for name in names} | {"files": files}


def training_config(config: RunConfig) -> TrainConfig:
    """Training settings of an adaptation: the run's models, starting from the run's bridge."""
    from smotext_ray.models.bridge_config import read_bridge_config
    from smotext_ray.models.encoder import default_device
    from smotext_ray.models.files import bridge_directory
    from smotext_ray.training.config import training_of_bridge

    training = training_of_bridge(
        config,
        read_bridge_config(bridge_directory(config.bridge.path)),
        start_from=config.bridge.path,
        learning_rate=LEARNING_RATE,
        lora_learning_rate=LORA_LEARNING_RATE,
        tokens_per_step=TOKENS_PER_STEP,
        seed=config.plan.seed,
    )
    if default_device() == "cuda":
        return replace(training, batch_tokens=BATCH_TOKENS_ON_GPU)
    return training


def embedded_texts(run: Run, seed: int, most: int = MOST_TEXTS) -> tuple[list[str], np.ndarray]:
    """Embedded texts of a run with their embeddings, sorted by id; at most ``most``, at random.

    The choice depends on their ids and the seed, not on which files they are in.

    Parameters
    ----------
    run : Run
    seed : int
    most : int

    Returns
    -------
    texts : list of str, length n
    embeddings : ndarray of shape (n, d), float32
    """
    table = embeddings_table(run)
    ids = table.to_table(columns=["id"])["id"]
    order = np.argsort(ids.to_numpy(zero_copy_only=False), kind="stable")
    rank = np.empty(len(order), np.int64)  # of each row in the table, by its id
    rank[order] = np.arange(len(order))
    drawn = np.sort(np.random.default_rng([seed, 5]).permutation(len(order))[:most])
    is_drawn = np.zeros(len(order), bool)
    is_drawn[drawn] = True
    parts, start = [], 0
    for batch in table.to_batches(columns=["text", "embedding"]):
        taken = is_drawn[rank[start : start + len(batch)]]
        parts.append(batch.filter(pa.array(taken)))
        start += len(batch)
    found = pa.Table.from_batches(parts).take(pa.array(np.argsort(rank[is_drawn[rank]])))
    return found["text"].to_pylist(), matrix(found["embedding"])
