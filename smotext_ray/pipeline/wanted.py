"""How many new texts each class of a run should get, or each label if rows have several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.plan.multilabel import label_targets
from smotext_ray.plan.strategy import synthetic_targets, targets
from smotext_ray.run.manifest import Manifest


def wanted_texts(config: RunConfig, manifest: Manifest) -> dict[Any, int]:
    """New texts per class of a run, given its rows and its strategy."""
    counts, strategy = manifest.class_counts, config.plan.sampling_strategy
    names = manifest.input.class_names
    if manifest.is_private:
        return synthetic_targets(counts, strategy, names, allow_unknown=True)
    return new_texts(counts, config, manifest.is_multilabel, bool(manifest.expansions), names)


def new_texts(
    counts: Mapping[Any, int],
    config: RunConfig,
    is_multilabel: bool,
    allow_reached: bool = False,
    names: Mapping[Any, str] | None = None,
) -> dict[Any, int]:
    """New texts per class by imbalanced-learn's rules, or per label by MLSMOTE's measures.

    Raises
    ------
    UserError
        See `smotext_ray.plan.strategy.targets`, `smotext_ray.plan.multilabel.label_targets`.
    """
    of = label_targets if is_multilabel else targets
    return of(counts, config.plan.sampling_strategy, allow_reached, names)


def check_for_labels(config: RunConfig) -> None:
    """Refuse settings that are defined only for rows with one class each.

    Raises
    ------
    UserError
    """
    refused = {
        f"plan.variant={config.plan.variant}": config.plan.variant != "smote",
        f"gate.cleaning={config.gate.cleaning}": config.gate.cleaning != "none",
        "privacy.epsilon": config.privacy.epsilon is not None,
    }
    for setting, is_set in refused.items():
        if is_set:
            raise UserError(
                f"{setting} is for rows of one class each, but these have several labels; leave "
                "it out."
            )
