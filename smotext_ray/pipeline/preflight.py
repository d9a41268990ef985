"""Checks before anything is written to a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from smotext_ray.config.schema import InputConfig, RunConfig
from smotext_ray.corpus.sources import last_written
from smotext_ray.corpus.staging import without_other_columns
from smotext_ray.corpus.survey import CorpusSummary, survey_corpus
from smotext_ray.errors import UserError
from smotext_ray.pipeline.executor import Executor
from smotext_ray.pipeline.on_ray import ON_RAY
from smotext_ray.pipeline.wanted import check_for_labels, new_texts
from smotext_ray.plan.strategy import check_class_sizes, synthetic_targets
from smotext_ray.plan.variants import check_rows
from smotext_ray.privacy.directions import check_directions
from smotext_ray.privacy.promise import check_input
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import check_same, existing_manifest
from smotext_ray.run.output import check_output

log = logging.getLogger("smotext_ray")
WHOLE_SECOND = timedelta(seconds=1)  # the precision of times in manifests


@dataclass(frozen=True)
class Opened:
    """A run that has passed all checks.

    Attributes
    ----------
    run : Run
    config : RunConfig
        With the encoder's dtype resolved: as in the run, or by the resources of its encoders.
    models : dict
        Models for the manifest.
    manifest : Manifest or None
        As it was when the run was opened, before its lease was taken; None for a new run.
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
        directions = check_directions(config.privacy, config.encoder, digest)
        models = {**models, "directions": directions}
    run = Run(uri)
    manifest = existing_manifest(run)
    if manifest is not None:
        _check_mechanism(run, manifest)
        config = _with_dtype(config, manifest.config.encoder.dtype)
        check_same(run, manifest, config, models)
        return Opened(run, config, models, manifest, None)
    check_output(config.input.path, run)
    survey = survey_input(config)
    check_feasible(
        survey.class_counts,
        config,
        singletons=survey.singletons,
        names=survey.class_names,
        is_multilabel=survey.is_multilabel,
    )
    for sentence in survey.warnings:
        log.warning("%s", sentence)
    config = _with_dtype(config, executor.encoder_dtype(config))
    return Opened(run, config, models, None, survey)


def warn_of_changed_input(opened: Opened) -> None:
    """Warn that the input was modified after the run read it, because new rows are not read.

    Until the corpus is staged, a changed input is refused; later, `smotext expand` reads it again.
    """
    manifest = opened.manifest
    if manifest is None or manifest.input.files is None:
        return
    written = last_written(opened.config.input)
    times = [manifest.created, *(each.began for each in manifest.expansions or [])]
    read = max(datetime.fromisoformat(time).astimezone(UTC) for time in times)
    if written is not None and written > read + WHOLE_SECOND:
        log.warning(
            "%s was written after the run read it, and the run keeps the rows that it read; "
            "add new rows with smotext expand, or start again with another --output",
            opened.config.input.shown,
        )


def _check_mechanism(run: Run, manifest: Manifest) -> None:
    """Refuse to resume a run of the older mechanism, which added noise to every record."""
    if manifest.privacy is not None and manifest.privacy.neighbors is None:
        raise UserError(
            f"The run in {run.uri} was begun with an earlier mechanism of privacy.epsilon, which "
            "this version does not have; begin it again with another --output."
        )


def _with_dtype(config: RunConfig, dtype: str) -> RunConfig:
    """The configuration with this encoder dtype, if it was "auto"."""
    if config.encoder.dtype != "auto":
        return config
    return config.model_copy(update={"encoder": config.encoder.model_copy(update={"dtype": dtype})})


def survey_input(config: RunConfig) -> CorpusSummary:
    """Check the input; with epsilon, as if it had only text and label columns."""
    survey = survey_corpus(input_of(config))
    if survey.is_multilabel:
        check_for_labels(config)
    if not has_epsilon(config):
        return survey
    check_input(config, survey.rows)
    if survey.bad_rows:
        count = sum(bad.count for bad in survey.bad_rows.values())
        log.warning("%d rows have no label and count for nothing", count)
    return without_other_columns(survey, config.input)


def input_of(config: RunConfig) -> InputConfig:
    """How the input is read: with epsilon, no text is rejected, and no row stops the run.

    A text that is null, empty or not a string is replaced, so that it changes neither the counts
    nor anything else visible in the run.
    """
    if not has_epsilon(config):
        return config.input
    return config.input.model_copy(update={"on_bad_row": "replace"})


def check_feasible(
    class_counts: dict[Any, int],
    config: RunConfig,
    allow_reached: bool = False,
    singletons: Set[Any] = frozenset(),
    names: Mapping[Any, str] | None = None,
    is_multilabel: bool = False,
) -> dict[Any, int]:
    """New points per class; rejects an invalid strategy, or a class with one distinct text.

    Also rejects a corpus with more rows than the SMOTE variant supports. With epsilon the points
    are drawn, at least `smotext_ray.privacy.points.LEAST_POINTS` per class.
    """
    check_rows(config.plan.variant, sum(class_counts.values()))
    if has_epsilon(config):
        return synthetic_targets(class_counts, config.plan.sampling_strategy, names)
    distinct = {label: 1 if label in singletons else n for label, n in class_counts.items()}
    points, _ = check_class_sizes(
        distinct,
        new_texts(class_counts, config, is_multilabel, allow_reached, names),
        config.neighbors.k_neighbors,
        config.neighbors.on_singleton_class,
        names,
    )
    return points


def has_epsilon(config: RunConfig) -> bool:
    """Whether the run is differentially private."""
    return config.privacy.epsilon is not None
