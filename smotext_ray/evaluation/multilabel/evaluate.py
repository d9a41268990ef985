"""``smotext evaluate`` of a run whose rows have several labels: its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from smotext_ray.evaluation.multilabel.arms import (
    CLASSIFIERS,
    COPIES,
    NOTHING,
    SMOTEXT,
    WEIGHTS,
    Arm,
    copies,
    scores_of,
)
from smotext_ray.evaluation.multilabel.data import LabeledRows, LabeledRun, drawn
from smotext_ray.evaluation.multilabel.scores import METRICS, LabelScores, measure
from smotext_ray.evaluation.statistics import Interval, interval
from smotext_ray.evaluation.utility.draws import LEFT_OUT
from smotext_ray.plan.multilabel import imbalance_ratios
from smotext_ray.run.class_outcomes import ClassOutcome, class_outcomes, mean_imbalance
from smotext_ray.run.manifest import Manifest

Trials = dict[tuple[str, str], list[LabelScores]]


def evaluate(
    manifest: Manifest,
    run: LabeledRun,
    seeds: Sequence[int],
    classifiers: Sequence[str],
    controls: Mapping[str, LabeledRows],
    test: str,
    log: Callable[[str], Any] = print,
) -> dict[str, Any]:
    """Measure a run.

    Parameters
    ----------
    manifest : Manifest
    run : LabeledRun
    seeds : sequence of int
        One for each draw of the real texts.
    classifiers : sequence of {"embedding", "tfidf"}
    controls : mapping of str to LabeledRows
        Texts generated in other ways, to be trained on instead of the synthetic ones.
    test : str
        The source of the test texts.
    log : callable
        Called with each line of progress.

    Returns
    -------
    dict
        The report, as plain values.
    """
    trials = run_trials(run, seeds, classifiers, controls, log)
    outcomes = class_outcomes(manifest)
    raised = [str(label) for label, number in (manifest.targets or {}).items() if number]
    return {
        "kind": "several labels",
        "run": {
            "test": test,
            "test_rows": len(run.test),
            "real_rows": len(run.real),
            "synthetic_rows": len(run.synthetic),
            "points": manifest.points,
            "accepted": manifest.usable_texts,
        },
        "labels": _labels(outcomes),
        "imbalance": dict(zip(("before", "after"), mean_imbalance(outcomes), strict=True)),
        "seeds": list(seeds),
        "utility": [
            {"classifier": classifier, "arm": arm, "metric": metric} | _share(values)
            for (classifier, arm), scores in trials.items()
            for metric, values in _values(scores, raised).items()
        ],
        "gains": _gains(trials, raised),
        "recall": [
            {"classifier": classifier, "arm": arm, "label": label}
            | _share([each.recall[label] for each in scores])
            for (classifier, arm), scores in trials.items()
            for label in scores[0].recall
        ],
        "rejections": dict(manifest.rejections().most_common()),
        "samples": run.samples,
    }


def run_trials(
    run: LabeledRun,
    seeds: Sequence[int],
    classifiers: Sequence[str],
    controls: Mapping[str, LabeledRows],
    log: Callable[[str], Any],
) -> Trials:
    """Train each classifier on each arm of each draw, and score it on the test texts.

    The arms: the real texts alone, with balanced weights, with random oversampling up to the
    numbers per label that SMOTExT reaches, with the synthetic texts, and with those of each
    control, of which as many are drawn as there are synthetic texts.
    """
    found: Trials = {}
    for seed in seeds:
        real, kept = drawn(run, seed, LEFT_OUT)
        new = run.synthetic.take(kept)
        after = real.joined(new)
        arms = {
            NOTHING: Arm(real),
            WEIGHTS: Arm(real, balanced=True),
            COPIES: Arm(copies(real, after.labels.sum(axis=0), seed)),
            SMOTEXT: Arm(after),
        }
        rng = np.random.default_rng([seed, 6])
        for name, rows in controls.items():
            some = np.sort(rng.permutation(len(rows))[: len(new)])
            arms[name] = Arm(real.joined(rows.take(some)))
        for classifier in classifiers:
            for name, arm in arms.items():
                scores = scores_of(arm, run.test, CLASSIFIERS[classifier])
                got = measure(run.test.labels, scores, run.labels, seed)
                found.setdefault((classifier, name), []).append(got)
        log(f"seed {seed}: {len(real)} real and {len(new)} synthetic texts")
    return found


def _labels(outcomes: list[ClassOutcome]) -> list[dict[str, Any]]:
    ratios = [
        imbalance_ratios({each.label: getattr(each, when) for each in outcomes})
        for when in ("before", "after")
    ]
    return [
        {
            "label": str(each.label),
            "before": each.before,
            "asked": each.asked,
            "accepted": each.accepted,
            "after": each.after,
            "ratio_before": ratios[0][each.label],
            "ratio_after": ratios[1][each.label],
        }
        for each in outcomes
    ]


def _values(scores: Sequence[LabelScores], raised: Sequence[str]) -> dict[str, list[float]]:
    values = {metric: [getattr(each, metric) for each in scores] for metric in METRICS}
    tested = [label for label in raised if label in scores[0].recall]
    if tested:
        values["recall_of_raised"] = [
            float(np.mean([each.recall[label] for label in tested])) for each in scores
        ]
    return values


def _gains(trials: Trials, raised: Sequence[str]) -> list[dict[str, Any]]:
    """Gains of SMOTExT's texts over each other arm, paired by draw."""
    found = []
    for (classifier, arm), scores in trials.items():
        if arm == SMOTEXT:
            continue
        own = _values(trials[classifier, SMOTEXT], raised)
        for metric, values in _values(scores, raised).items():
            gain = [a - b for a, b in zip(own[metric], values, strict=True)]
            facts = {"classifier": classifier, "over": arm, "metric": metric}
            found.append(facts | _as_json(interval(gain, LEFT_OUT)))
    return found


def _share(values: Sequence[float]) -> dict[str, Any]:
    return _as_json(interval(values, LEFT_OUT).of_share()) | {"values": list(values)}


def _as_json(of: Interval) -> dict[str, Any]:
    found = of.as_json()
    return {name: found[name] for name in ("mean", "low", "high")}
