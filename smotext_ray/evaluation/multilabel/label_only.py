"""The control ``label_only``: the plain LLM is prompted with the labels of each point."""

from __future__ import annotations

from collections import Counter

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.evaluation.controls.decode import decoded_control
from smotext_ray.evaluation.controls.prompts import labels_in_words
from smotext_ray.evaluation.multilabel.data import Encode, LabeledRows, of_samples
from smotext_ray.pipeline.executor import Executor
from smotext_ray.run.directory import Run
from smotext_ray.run.lease import hold
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.result import up_to_target
from smotext_ray.run.samples import accepted_unique
from smotext_ray.run.tables import plan_table, samples_table

NAME = "label_only"


def label_only(run: Run, config: RunConfig, encode: Encode, executor: Executor) -> LabeledRows:
    """Decode every point of the run without its vector, and keep what the run would keep.

    The gate checks the labels as for the run's own texts, but has no points to compare with.

    Raises
    ------
    UserError
        If no round of the run is decoded, or another process is working on it.
    """
    manifest = Manifest.read(run)
    rounds = [entry for entry in manifest.rounds if entry.decode is not None]
    if not rounds:
        raise UserError(f"The run {run.uri} has no texts yet; run smotext augment first.")
    names = {
        labels_in_words(row)
        for entry in rounds
        for batch in plan_table(run, "plan", entry.name).to_batches(columns=["label", "labels"])
        for row in batch.to_pylist()
    }
    with hold(run, "evaluate"):
        decoded_control(run, config, NAME, rounds, sorted(names), executor)
    (texts,) = accepted_unique([samples_table(run, "controls", NAME, "samples")])
    kept = up_to_target(texts, Counter(), manifest.targets or {})
    return of_samples(kept, manifest.labels, encode)
