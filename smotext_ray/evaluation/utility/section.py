"""The ``utility`` section of a report: scores of all arms, gains and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smotext_ray.evaluation.controls.decode import Control
from smotext_ray.evaluation.statistics import Interval
from smotext_ray.evaluation.utility.draws import LEFT_OUT
from smotext_ray.evaluation.utility.scores import METRICS, Summary, differences, ratios, summarize
from smotext_ray.evaluation.utility.trials import REAL, SYNTHETIC, Trials
from smotext_ray.evaluation.utility.verdicts import BASELINE, gains, over_baseline, verdicts


def utility_section(
    trials: Trials,
    labels: Sequence[str],
    seeds: Sequence[int],
    decoded: Mapping[str, Control] | None = None,
) -> dict[str, Any]:
    """The ``utility`` section of a report.

    Parameters
    ----------
    trials : Trials
    labels : sequence of str
        True labels of the test rows.
    seeds : sequence of int
    decoded : mapping of str to Control, optional
        Controls without texts are listed as empty.
    """
    rows, recall = [], []
    ratio: dict[str, Any] = {}
    less: dict[str, Any] = {}
    for (classifier, arm), scores in trials.items():
        summary, facts = summarize(scores, LEFT_OUT), {"classifier": classifier, "arm": arm}
        for metric in METRICS:
            values = [getattr(found, metric) for found in scores]
            share = as_json(getattr(summary, metric).of_share())
            rows.append(facts | {"metric": metric, "values": values} | share)
        recall += [
            facts | {"label": label} | as_json(found.of_share())
            for label, found in summary.recall.items()
        ]
        if arm == SYNTHETIC and (classifier, REAL) in trials:
            real = trials[classifier, REAL]
            ratio[classifier] = _compared(ratios(scores, real, LEFT_OUT))
            less[classifier] = _compared(differences(scores, real, LEFT_OUT))
    over = gains(trials)
    return {
        "test_rows": len(labels),
        "seeds": list(seeds),
        "baseline": BASELINE,
        "rows": rows,
        "recall": recall,
        "tstr_ratio": ratio or None,
        "tstr_difference": less or None,  # near the ceiling, a ratio looks too good
        "gains": [gain.as_json() for gain in over],
        "over_baseline": over_baseline(trials, over, labels),
        "verdicts": verdicts(over),
        "empty_arms": [
            {"arm": name, "asked": control.asked}
            for name, control in (decoded or {}).items()
            if not len(control.rows)
        ],
    }


def _compared(summary: Summary) -> dict[str, Any]:
    return {metric: bounds(summary, metric) for metric in METRICS}


def bounds(summary: Summary, metric: str) -> dict[str, Any]:
    """Mean and interval of a metric, in the report's form."""
    return as_json(getattr(summary, metric))


def as_json(interval: Interval) -> dict[str, Any]:
    """Mean and bounds of an interval."""
    found = interval.as_json()
    return {name: found[name] for name in ("mean", "low", "high")}
