"""Whether the synthetic texts help, and whether that is credited to interpolation.

One comparison was chosen before anything was measured: real and synthetic rows against the real
rows with class weights, both tuned. There are many others, so their p values are adjusted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smotext_ray.evaluation.statistics import CONFIDENCE, Interval, holm, p_value
from smotext_ray.evaluation.utility.bootstrap import paired_bootstrap
from smotext_ray.evaluation.utility.classifiers import CONTRASTIVE_OF_BOTH, NEAREST_OF_BOTH
from smotext_ray.evaluation.utility.draws import LEFT_OUT
from smotext_ray.evaluation.utility.scores import METRICS, Scores, differences
from smotext_ray.evaluation.utility.trials import AS_MANY_AS, OWN, SYNTHETIC, WEIGHTED, Trials

BASELINE = "class_weights"
# Both keep the LLM and remove what interpolation adds: the neighbor, or the whole vector.
WITHOUT_INTERPOLATION = ("lam_0", "label_only")
OF_SMOTEXT = (
    OWN,
    SYNTHETIC,
    WEIGHTED,
    NEAREST_OF_BOTH,
    CONTRASTIVE_OF_BOTH,
    "balanced_by_class",
    "weighted_by_constant",
    "weighted_by_teacher",
    "softly_labeled",
)
ALPHA = 1 - CONFIDENCE


@dataclass(frozen=True)
class Gain:
    """Real and synthetic rows minus another arm, on one metric of one classifier.

    Attributes
    ----------
    classifier, metric, against : str
    difference : Interval
        Over draws of the training rows.
    p : float in [0, 1]
        Two-sided; NaN for a single draw. Adjusted by Holm's method for the number of arms and
        classifiers compared on this metric, except for ``BASELINE``, chosen beforehand.
    """

    classifier: str
    metric: str
    against: str
    difference: Interval
    p: float

    def as_json(self) -> dict[str, Any]:
        """The gain as a mapping of plain values, with the bounds of the difference."""
        found = self.difference.as_json()
        return {
            "classifier": self.classifier,
            "metric": self.metric,
            "against": self.against,
            **{name: found[name] for name in ("mean", "low", "high")},
            "p": None if math.isnan(self.p) else self.p,
        }


def gains(trials: Trials, left_out: float = LEFT_OUT) -> list[Gain]:
    """Gains over every arm except those of SMOTExT itself.

    A decoded control with fewer texts than SMOTExT is compared with the synthetic texts cut to the
    same numbers.

    Parameters
    ----------
    trials : Trials
    left_out : float in [0, 1)
        The share of one corpus that each draw leaves out; see `statistics.interval`.
    """
    found = []
    for metric in METRICS:
        found += _of_metric(trials, metric, left_out)
    return found


def over_baseline(
    trials: Trials, over: Sequence[Gain], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """Whether each classifier gains over ``BASELINE``, one mapping per classifier and metric.

    Both intervals are stated: over draws of the training rows, and (macro-F1) over the test rows.
    ``helps`` is True only if all available intervals lie above zero, and None without any.
    """
    found = []
    for gain in over:
        if gain.against != BASELINE:
            continue
        arms = {arm: s for (name, arm), s in trials.items() if name == gain.classifier}
        tests = None
        if gain.metric == "macro_f1":
            tests = over_test_rows(labels, arms[OWN], arms[BASELINE])
        found.append(
            {
                "classifier": gain.classifier,
                "metric": gain.metric,
                "helps": _above_zero([gain.difference, *([tests] if tests else [])]),
                "over_draws": gain.difference.as_json(),
                "over_test_rows": None if tests is None else tests.as_json(),
                "own": _mean(arms[OWN], gain.metric),
                "baseline": _mean(arms[BASELINE], gain.metric),
            }
        )
    return found


def verdicts(over: Sequence[Gain]) -> list[dict[str, Any]]:
    """Whether gains are credited to interpolation, if both controls for it were scored.

    They are only if SMOTExT significantly beats both: the sources decoded without a neighbor (lam
    0), and the LLM prompted with only the class name.
    """
    found = []
    for classifier, metric in dict.fromkeys((gain.classifier, gain.metric) for gain in over):
        mine = {g.against: g for g in over if (g.classifier, g.metric) == (classifier, metric)}
        if not all(name in mine for name in WITHOUT_INTERPOLATION):
            continue
        both = [mine[name] for name in WITHOUT_INTERPOLATION]
        counts = all(g.difference.mean > 0 and g.p < ALPHA for g in both)  # NaN is not below
        facts = {"classifier": classifier, "metric": metric, "counts": counts}
        found.append(facts | {f"over_{g.against}": g.as_json() for g in both})
    return found


def over_test_rows(
    labels: Sequence[str], own: Sequence[Scores], other: Sequence[Scores]
) -> Interval | None:
    """The paired bootstrap of two arms' macro-F1; None if predictions were not kept."""
    if not all(score.predicted for score in [*own, *other]):
        return None
    return paired_bootstrap(labels, [s.predicted for s in own], [s.predicted for s in other])


def _of_metric(trials: Trials, metric: str, left_out: float) -> list[Gain]:
    pairs = [key for key in trials if _is_control(key[1]) and (key[0], OWN) in trials]
    intervals, p_values = [], []
    for classifier, arm in pairs:
        own = trials.get((classifier, AS_MANY_AS + arm), trials[classifier, OWN])
        other = trials[classifier, arm]
        intervals.append(getattr(differences(own, other, left_out), metric))
        both = zip(own, other, strict=True)
        p_values.append(
            p_value([getattr(a, metric) - getattr(b, metric) for a, b in both], left_out)
        )
    family = [i for i, (_, arm) in enumerate(pairs) if arm != BASELINE]
    if not any(math.isnan(p) for p in p_values):
        for i, p in zip(family, holm([p_values[i] for i in family]), strict=True):
            p_values[i] = p
    return [
        Gain(classifier, metric, arm, difference, p)
        for (classifier, arm), difference, p in zip(pairs, intervals, p_values, strict=True)
    ]


def _is_control(arm: str) -> bool:
    return arm not in OF_SMOTEXT and not arm.startswith(AS_MANY_AS)


def _mean(scores: Sequence[Scores], metric: str) -> float:
    return sum(getattr(score, metric) for score in scores) / len(scores)


def _above_zero(intervals: Sequence[Interval]) -> bool | None:
    if any(math.isnan(interval.low) for interval in intervals):
        return None
    return all(interval.low > 0 for interval in intervals)
