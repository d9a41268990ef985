"""Words in the run directories of older versions, and what they are called today.

Whoever reads a manifest, or the reasons of samples, reads them through these functions; so all
other code knows today's words only. What is written is always in today's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SETTINGS = {
    "neighbors": {"lonely_class": "on_singleton_class"},
    "plan": {"lam_alpha": "alpha", "mixed_neighbors": "neighbors_per_point"},
    "decoder": {"candidates": "num_candidates"},
    "gate": {"reject_cut_off": "reject_truncated"},
    "resources": {
        "tries": "max_attempts",
        "no_progress_minutes": "stall_timeout_minutes",
        "most_cluster_cpus": "max_cluster_cpus",
        "most_cluster_gpus": "max_cluster_gpus",
        "encoder_gpus": "gpus_per_encoder",
        "gate_gpus": "gpus_per_gate",
    },
}
REASONS = {
    "cut_off": "truncated",
    "other_class": "wrong_class",
    "far_from_point": "low_similarity",
}


def renamed_manifest(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest in today's words.

    Parameters
    ----------
    stored : mapping
        The content of ``manifest.json`` as this version or an older one wrote it; left as it is.

    Returns
    -------
    dict
        The same facts in the same order.

    Examples
    --------
    >>> renamed_manifest({"config": {"plan": {"seed": 1, "lam_alpha": 2.0}}, "short": []})
    {'config': {'plan': {'seed': 1, 'alpha': 2.0}}, 'shortfall': []}
    """
    manifest = _renamed(stored, {"short": "shortfall"})
    if "config" in manifest:
        sections = manifest["config"].items()
        manifest["config"] = {name: _renamed(s, SETTINGS.get(name, {})) for name, s in sections}
    if "expansions" in manifest:
        words = SETTINGS["neighbors"]
        manifest["expansions"] = [_renamed(entry, words) for entry in manifest["expansions"]]
    if "rounds" in manifest:
        manifest["rounds"] = [
            entry | {"decode": _renamed_outcome(entry["decode"])} if "decode" in entry else entry
            for entry in manifest["rounds"]
        ]
    if "controls" in manifest:
        controls = manifest["controls"].items()
        manifest["controls"] = {name: _renamed_outcome(facts) for name, facts in controls}
    return manifest


def renamed_reason(stored: str | None) -> str | None:
    """Today's word for a sample's reason.

    Examples
    --------
    >>> renamed_reason("cut_off"), renamed_reason("empty")
    ('truncated', 'empty')
    """
    return stored if stored is None else REASONS.get(stored, stored)


def _renamed(content: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    return {words.get(key, key): value for key, value in content.items()}


def _renamed_outcome(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What became of samples; a control's facts lack it while it is being made."""
    outcome = dict(facts)
    if "reasons" in outcome:
        outcome["reasons"] = _renamed(outcome["reasons"], REASONS)
    if "reasons_by_class" in outcome:
        triples = outcome["reasons_by_class"]
        outcome["reasons_by_class"] = [[label, REASONS.get(r, r), n] for label, r, n in triples]
    return outcome
