"""Checks before anything is written to a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from smotext_ray.config.schema import RunConfig
from smotext_ray.corpus.staging import without_other_columns
from smotext_ray.corpus.survey import CorpusSummary, survey_corpus
from smotext_ray.pipeline.executor import Executor
from smotext_ray.pipeline.on_ray import ON_RAY
from smotext_ray.plan.strategy import check_class_sizes, targets
from smotext_ray.plan.variants import check_rows
from smotext_ray.privacy.directions import check_directions
from smotext_ray.privacy.release import check_input
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import check_same, existing_manifest
from smotext_ray.run.output import check_output

log = logging.getLogger("smotext_ray")


@dataclass(frozen=True)
class Opened:
    """A run that may be worked on.

    Attributes
    ----------
    run : Run
    config : RunConfig
        With the encoder's dtype resolved: from the run, or from the resources of its encoders.
    models : dict
        Models for the manifest.
    manifest : Manifest or None
        As it was when the run was opened, before a lease on it was taken; None for a new run.
    survey : CorpusSummary or None
        Survey of the input, if the run is new.
    """

    run: Run
    config: RunConfig
    models: dict[str, dict[str, str]]
    manifest: Manifest | None
    survey: CorpusSummary | None


def open_checked(config: RunConfig, uri: str, executor: Executor = ON_RAY) -> Opened:
    """Open a run and check everything that can be checked before writing.

    Raises
    ------
    UserError
    """
    models = executor.actors.check_models(config)
    if has_epsilon(config):
        digest = models["encoder"]["sha256"]
        models["directions"] = check_directions(config.privacy, config.encoder, digest)
    run = Run(uri)
    manifest = existing_manifest(run)
    if manifest is not None:
        config = _with_dtype(config, manifest.config.encoder.dtype)
        check_same(run, manifest, config, models)
        return Opened(run, config, models, manifest, None)
    check_output(config.input.path, run)
    survey = survey_input(config)
    check_feasible(
        survey.class_counts, config, singletons=survey.singletons, names=survey.class_names
    )
    for sentence in survey.warnings:
        log.warning("%s", sentence)
    config = _with_dtype(config, executor.encoder_dtype(config))
    return Opened(run, config, models, None, survey)


def _with_dtype(config: RunConfig, dtype: str) -> RunConfig:
    """The configuration with this encoder dtype, if it was "auto"."""
    if config.encoder.dtype != "auto":
        return config
    return config.model_copy(update={"encoder": config.encoder.model_copy(update={"dtype": dtype})})


def survey_input(config: RunConfig) -> CorpusSummary:
    """Check the input; with epsilon, as if it had only text and label columns."""
    survey = survey_corpus(config.input)
    if not has_epsilon(config):
        return survey
    check_input(config, survey.rows)
    return without_other_columns(survey, config.input)


def check_feasible(
    class_counts: dict[Any, int],
    config: RunConfig,
    allow_reached: bool = False,
    singletons: Set[Any] = frozenset(),
    names: Mapping[Any, str] | None = None,
) -> dict[Any, int]:
    """New points per class; rejects an invalid strategy, or a class with one distinct text.

    Also rejects a corpus with more rows than the SMOTE variant supports. With epsilon, each row
    counts as another text.
    """
    check_rows(config.plan.variant, sum(class_counts.values()))
    alone = frozenset() if has_epsilon(config) else singletons
    distinct = {label: 1 if label in alone else rows for label, rows in class_counts.items()}
    points, _ = check_class_sizes(
        distinct,
        targets(class_counts, config.plan.sampling_strategy, allow_reached, names),
        config.neighbors.k_neighbors,
        config.neighbors.on_singleton_class,
        names,
    )
    return points


def has_epsilon(config: RunConfig) -> bool:
    """Whether the run is differentially private."""
    return config.privacy.epsilon is not None
