"""All that is checked before a run is written to."""

from __future__ import annotations

from typing import Any

from smotext_ray.cluster import connect, pools
from smotext_ray.cluster.ray_data import MOST_BLOCKS
from smotext_ray.config.schema import RunConfig
from smotext_ray.corpus.staging import without_other_columns
from smotext_ray.corpus.survey import Survey, survey_corpus
from smotext_ray.pipeline.actors import REAL, Actors
from smotext_ray.plan.strategy import check_class_sizes, targets
from smotext_ray.plan.variants import check_rows
from smotext_ray.privacy.directions import check_directions
from smotext_ray.privacy.release import check_input
from smotext_ray.run.directory import MANIFEST, Run
from smotext_ray.run.manifest import open_run
from smotext_ray.utils.cpu import cpu_dtype


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
    resources = connect.connect()
    encoders = pools.encoder_pool(resources, config, blocks=MOST_BLOCKS)
    pools.decoder_pools(resources, config, blocks=MOST_BLOCKS)
    config = _with_dtype(config, "bfloat16" if encoders.gpus else cpu_dtype())
    return config, run, models, survey


def _with_dtype(config: RunConfig, dtype: str) -> RunConfig:
    """The configuration with this dtype of the encoder, where it was left open."""
    if config.encoder.dtype != "auto":
        return config
    return config.model_copy(update={"encoder": config.encoder.model_copy(update={"dtype": dtype})})


def survey_input(config: RunConfig) -> Survey:
    """Check the input; with epsilon, as if it held no columns but text and label."""
    survey = survey_corpus(config.input)
    if not has_epsilon(config):
        return survey
    check_input(config, survey.rows)
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
        config.neighbors.on_singleton_class,
    )
    return points


def has_epsilon(config: RunConfig) -> bool:
    """Whether the run makes a promise of privacy."""
    return config.privacy.epsilon is not None
