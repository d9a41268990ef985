"""Classifiers trained on the real texts, on the new ones, on both, and on the controls.

Each seed leaves out a tenth of the real texts of each class, and the new texts that have a
left-out parent: so the intervals over seeds tell how much the draw of real texts matters.
Every arm that adds rows adds as many to each class as SMOTExT has new texts of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from smotext_ray.errors import UserError
from smotext_ray.evaluation.controls import ARMS, Arm
from smotext_ray.evaluation.eda import wordnet
from smotext_ray.evaluation.material import Material
from smotext_ray.evaluation.utility import (
    Interval,
    Rows,
    Scores,
    Summary,
    differences,
    encoded,
    ratios,
    score,
    summarise,
)

LEFT_OUT = 0.1
METRICS = ("accuracy", "macro_f1", "balanced_accuracy")
OWN, SYNTHETIC = "real_and_synthetic", "synthetic_only"
Trials = dict[tuple[str, str], list[Scores]]  # (classifier, arm) -> a score a seed


def run_trials(
    material: Material,
    seeds: Sequence[int],
    classifiers: Sequence[str],
    encode: Callable[[list[str]], np.ndarray],
    controls: dict[str, Arm] | None = None,
    log: Callable[[str], Any] = print,
) -> Trials:
    """Score every arm with every classifier and seed.

    Parameters
    ----------
    material : Material
    seeds : sequence of int
    classifiers : sequence of str
    encode : callable
        For the texts that a control makes.
    controls : dict of str to Arm, optional
        Default: all that need no LLM.
    log : callable
        Takes a line a seed.

    Returns
    -------
    Trials
    """
    found: Trials = {}
    for seed in seeds:
        real, synthetic = draw(material, seed)
        arms = training_sets(real, synthetic, seed, controls or available())
        for arm, (rows, weight) in arms.items():
            for classifier in classifiers:
                if classifier == "tfidf" and not rows.has_text:
                    continue  # SMOTE's points have no words
                ready = encoded(rows, encode) if classifier == "embedding" else rows
                scores = score(ready, material.test, classifier, seed, weight)
                found.setdefault((classifier, arm), []).append(scores)
        log(f"utility: seed {seed} done")
    return found


def available() -> dict[str, Arm]:
    """The controls, with EDA's synonyms where a package carries them, and without elsewhere."""
    try:
        wordnet()
    except UserError:
        return {name: arm for name, arm in ARMS.items() if name != "eda"}
    return {name: arm for name, arm in ARMS.items() if name != "eda_without_synonyms"}


def draw(material: Material, seed: int) -> tuple[Rows, Rows]:
    """The real rows that a seed keeps, and the new ones both of whose parents are kept.

    A class keeps at least two of its rows, if it has them.
    """
    labels = np.asarray(material.real.labels)
    kept = np.ones(len(labels), bool)
    rng = np.random.default_rng([seed, 5])
    for label in sorted(set(material.real.labels)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        most = max(len(rows) - 2, 0)
        kept[rows[: min(round(LEFT_OUT * len(rows)), most)]] = False
    both = kept[material.parents].all(axis=1)
    return material.real.take(np.flatnonzero(kept)), material.synthetic.take(np.flatnonzero(both))


def training_sets(
    real: Rows, synthetic: Rows, seed: int, controls: dict[str, Arm]
) -> dict[str, tuple[Rows, np.ndarray | None]]:
    """Each arm's training rows, and their weights where it has weights.

    The new texts alone are an arm only where every class has some.
    """
    counts, new = Counter(real.labels), Counter(synthetic.labels)
    targets = {label: counts[label] + added for label, added in new.items()}
    sets = {name: arm(real, targets, seed) for name, arm in controls.items()}
    sets[OWN] = real.joined(synthetic), None
    if new.keys() == counts.keys():
        sets[SYNTHETIC] = synthetic, None
    return sets


def utility_section(trials: Trials, test_rows: int, seeds: Sequence[int]) -> dict[str, Any]:
    """The section ``utility`` of a report."""
    rows, recall, gains, ratio = [], [], [], {}
    for (classifier, arm), scores in trials.items():
        summary, facts = summarise(scores), {"classifier": classifier, "arm": arm}
        for metric in METRICS:
            values = [getattr(found, metric) for found in scores]
            rows.append(facts | {"metric": metric, "values": values} | _bounds(summary, metric))
        recall += [facts | {"label": k} | _json(v) for k, v in summary.recall.items()]
        if arm == SYNTHETIC:
            ratio[classifier] = _compared(ratios(scores, trials[classifier, "nothing"]))
        elif arm != OWN:
            less = differences(trials[classifier, OWN], scores)
            gains += [
                {"classifier": classifier, "metric": m, "against": arm} | _bounds(less, m)
                for m in METRICS
            ]
    return {
        "test_rows": test_rows,
        "seeds": list(seeds),
        "rows": rows,
        "recall": recall,
        "tstr_ratio": ratio,
        "gains": gains,
    }


def _compared(summary: Summary) -> dict[str, Any]:
    return {metric: _bounds(summary, metric) for metric in METRICS}


def _bounds(summary: Summary, metric: str) -> dict[str, Any]:
    return _json(getattr(summary, metric))


def _json(interval: Interval) -> dict[str, Any]:
    found = interval.as_json()
    return {name: found[name] for name in ("mean", "low", "high")}
