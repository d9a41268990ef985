"""Names in run directories of older versions, and their current names.

Manifests and reasons of samples are always read through these functions, so all other code knows
only the current names. Only current names are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smotext_ray.errors import UserError

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
LAST_WITH_SLERP = "a21507a"  # the last commit that has plan.interpolation
REASONS = {
    "cut_off": "truncated",
    "other_class": "wrong_class",
    "far_from_point": "low_similarity",
}


def renamed_manifest(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with current names.

    Parameters
    ----------
    stored : mapping
        The content of ``manifest.json`` from this or an older version; not modified.

    Returns
    -------
    dict
        The same facts in the same order, without the former setting ``plan.interpolation``.

    Raises
    ------
    UserError
        For an unfinished run that interpolates on the sphere, which is no longer supported.

    Examples
    --------
    >>> renamed_manifest({"config": {"plan": {"seed": 1, "lam_alpha": 2.0}}, "short": []})
    {'config': {'plan': {'seed': 1, 'alpha': 2.0}}, 'shortfall': []}
    """
    manifest = _renamed(stored, {"short": "shortfall"})
    if "config" in manifest:
        sections = manifest["config"].items()
        manifest["config"] = {name: _renamed(s, SETTINGS.get(name, {})) for name, s in sections}
        if manifest["config"].get("plan", {}).pop("interpolation", "lerp") != "lerp":
            _check_finished(manifest)
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
    """The current name of a sample's reason.

    Examples
    --------
    >>> renamed_reason("cut_off"), renamed_reason("empty")
    ('truncated', 'empty')
    """
    return stored if stored is None else REASONS.get(stored, stored)


def _check_finished(manifest: Mapping[str, Any]) -> None:
    if "result" not in manifest["stages"]:
        raise UserError(
            "This run was begun with plan.interpolation=slerp, which is gone; finish it with "
            f"smotext-ray of commit {LAST_WITH_SLERP}, or begin it again in another directory."
        )


def _renamed(content: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    return {words.get(key, key): value for key, value in content.items()}


def _renamed_outcome(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Rename reasons in an outcome, which is missing while a control is in progress."""
    outcome = dict(facts)
    if "reasons" in outcome:
        outcome["reasons"] = _renamed(outcome["reasons"], REASONS)
    if "reasons_by_class" in outcome:
        triples = outcome["reasons_by_class"]
        outcome["reasons_by_class"] = [[label, REASONS.get(r, r), n] for label, r, n in triples]
    return outcome
