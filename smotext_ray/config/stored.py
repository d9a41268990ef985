"""The configuration as stored in a run's manifest and on its card."""

from __future__ import annotations

import json
from typing import Any

from smotext_ray.config.schema import RunConfig
from smotext_ray.safe_text import without_keys

# Settings that are stored only if they differ from their defaults.
TOLD = {
    "input": (
        *("format", "delimiter", "quoting", "header", "encoding"),
        *("label_delimiter", "label_columns"),
    ),
    "plan": ("label_sets",),
    "gate": ("labels",),
    "resources": ("gpu_type",),
}


def config_json(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain JSON values, for the manifest.

    The sections for privacy and adaptation are left out unless they are used, and so are the
    settings for text files and several labels unless they differ from their defaults; credentials
    are removed from the input URI.
    """
    content = all_settings(config)
    for section, names in TOLD.items():
        fields = type(getattr(config, section)).model_fields
        for name in names:
            if content[section][name] == fields[name].default:
                del content[section][name]
    if config.privacy.epsilon is None:
        del content["privacy"]
    if not config.adapt.minutes:
        del content["adapt"]
    return content


def all_settings(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Every setting by section, as plain JSON values; without credentials of the input URI."""
    content = dict(json.loads(config.model_dump_json()))
    content["input"]["path"] = without_keys(config.input.path)
    return content
