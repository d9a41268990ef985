"""The verdict: whether the synthetic texts helped, for each classifier.

It compares the union of real and synthetic texts with real texts alone, with the one baseline that
was chosen before anything was measured, and with the control that scores best. Nothing is measured
here; the figures come from the section on utility.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from smotext_ray.evaluation.report.words import CLASSIFIERS, in_words

REAL, BOTH, SYNTHETIC = ("nothing", "real_and_synthetic", "synthetic_only")
METRIC = "macro_f1"
Call = Literal["better", "not above the baseline", "below the best control", "unclear", "worse"]


def verdicts(utility: Mapping[str, Any], grown: Sequence[str]) -> list[dict[str, Any]]:
    """One `report.schema.Outcome` per classifier, by macro-F1.

    Parameters
    ----------
    utility : mapping
        The section ``utility`` of a report.
    grown : sequence of str
        Classes with synthetic texts; recall is shown for the one whose recall changed most, up or
        down.
    """
    scored = {row["classifier"] for row in utility["rows"]}
    order = [name for name in CLASSIFIERS if name in scored] + sorted(scored - CLASSIFIERS.keys())
    found = [_outcome(utility, classifier, grown) for classifier in order]
    return [outcome for outcome in found if outcome is not None]


def _outcome(
    utility: Mapping[str, Any], classifier: str, grown: Sequence[str]
) -> dict[str, Any] | None:
    means = {
        row["arm"]: row["mean"]
        for row in utility["rows"]
        if (row["classifier"], row["metric"]) == (classifier, METRIC)
    }
    gains = {
        gain["against"]: {bound: gain[bound] for bound in ("mean", "low", "high")}
        for gain in utility["gains"]
        if (gain["classifier"], gain["metric"]) == (classifier, METRIC)
    }
    if not {REAL, BOTH} <= means.keys() or REAL not in gains:
        return None
    controls = [arm for arm in means if arm in gains and arm != REAL]
    best = max(controls, key=lambda arm: means[arm], default=None)
    over_best = gains[best] if best else None
    baseline = utility.get("baseline")
    above = next(
        (
            found["helps"]
            for found in utility.get("over_baseline", [])
            if (found["classifier"], found["metric"]) == (classifier, METRIC)
        ),
        None,
    )
    outcome = {
        "classifier": classifier,
        "metric": METRIC,
        "before": means[REAL],
        "after": means[BOTH],
        "gain": gains[REAL],
        "baseline": baseline if baseline in gains else None,
        "best_control": best and {"arm": best, "mean": means[best], "gain": over_best},
        "recall": _recall(utility["recall"], classifier, grown),
        "call": call(gains[REAL], above if baseline in gains else True, over_best),
    }
    return outcome | {"words": _words(outcome)}


def call(
    gain: Mapping[str, Any], above_baseline: bool | None, over_best: Mapping[str, Any] | None
) -> Call:
    """The conclusion that the intervals of ``real_and_synthetic``'s paired differences support.

    Parameters
    ----------
    gain, over_best : mapping
        Differences to real texts alone, and to the best control if there is one: ``mean``, ``low``
        and ``high``; the bounds are None for a single seed.
    above_baseline : bool or None
        Whether all intervals of the difference to the baseline lie above zero; None without one.
    """
    if gain["low"] is None:
        return "unclear"
    if gain["high"] < 0:
        return "worse"
    if gain["low"] <= 0:
        return "unclear"
    if over_best is not None and over_best["high"] < 0:
        return "below the best control"
    return "better" if above_baseline else "not above the baseline"


def sentence(outcome: Mapping[str, Any]) -> str:
    """An outcome as a line for a terminal."""
    gain, best, recall = (outcome[name] for name in ("gain", "best_control", "recall"))
    interval = "one seed, no interval"
    if gain["low"] is not None:
        interval = f"95% {gain['low']:+.3f} to {gain['high']:+.3f}"
    parts = [
        f"{in_words(outcome['metric'])} {outcome['before']:.3f} -> {outcome['after']:.3f} "
        f"({gain['mean']:+.3f}, {interval})"
    ]
    if best:
        parts.append(f"best control {in_words(best['arm'])} {best['mean']:.3f}")
    if recall:
        change = f"{recall['before']:.2f} -> {recall['after']:.2f}"
        parts.append(f"recall of {recall['label']} {change}")
    return f"{in_words(outcome['classifier'])}: {'; '.join(parts)}"


def _words(outcome: Mapping[str, Any]) -> str:
    best, baseline = outcome["best_control"], in_words(outcome["baseline"] or "")
    better = "Better than real texts alone"
    words: dict[Call, str] = {
        "better": f"{better} and than {baseline}" if baseline else better,
        "not above the baseline": f"{better}, but not measurably than {baseline}",
        "below the best control": f"{better}, but worse than {best and in_words(best['arm'])}",
        "unclear": "No measurable difference from real texts alone",
        "worse": "Worse than real texts alone",
    }
    return words[outcome["call"]]


def _recall(
    recall: Sequence[Mapping[str, Any]], classifier: str, grown: Sequence[str]
) -> dict[str, Any] | None:
    of = {(r["arm"], r["label"]): r["mean"] for r in recall if r["classifier"] == classifier}
    pairs = [
        {"label": label, "before": of[REAL, label], "after": of[BOTH, label]}
        for label in grown
        if (REAL, label) in of and (BOTH, label) in of
    ]
    return max(pairs, key=lambda pair: abs(pair["after"] - pair["before"]), default=None)
