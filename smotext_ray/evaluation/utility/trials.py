"""Classifiers trained on real texts, on synthetic ones, on both, and on the controls.

Each seed leaves out a tenth of the real texts of each class, and the synthetic texts with a
left-out parent. The draws overlap, so the intervals over seeds are those of the delete-d jackknife.
Every arm that adds rows adds as many to each class as SMOTExT does. Decoded controls add at most
that many, limited by what passed the gate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from smotext_ray.errors import UserError
from smotext_ray.evaluation.controls.decode import Control, first_of_classes
from smotext_ray.evaluation.inputs import EvaluationData
from smotext_ray.evaluation.rows import Rows, encoded
from smotext_ray.evaluation.statistics import Interval
from smotext_ray.evaluation.utility.arms import ARMS, VARIANT_ARMS, Arm, gain_is_interpolations
from smotext_ray.evaluation.utility.classifiers import Classifier, score
from smotext_ray.evaluation.utility.eda import wordnet
from smotext_ray.evaluation.utility.scores import Scores, Summary, differences, ratios, summarize

LEFT_OUT = 0.1
METRICS = ("accuracy", "macro_f1", "balanced_accuracy")
OWN, SYNTHETIC = "real_and_synthetic", "synthetic_only"
Trials = dict[tuple[str, str], list[Scores]]  # (classifier, arm) -> one score per seed


def run_trials(
    material: EvaluationData,
    seeds: Sequence[int],
    classifiers: Mapping[str, Classifier],
    encode: Callable[[list[str]], np.ndarray],
    controls: dict[str, Arm] | None = None,
    log: Callable[[str], Any] = print,
    decoded: Mapping[str, Control] | None = None,
) -> Trials:
    """Score every arm with every classifier and seed.

    Parameters
    ----------
    material : EvaluationData
    seeds : sequence of int
    classifiers : mapping of str to Classifier
        Keys are the names in the report; only ``embedding`` reads embeddings.
    encode : callable
        Encodes texts created by controls.
    controls : dict of str to Arm, optional
        Default: all controls that need no LLM.
    log : callable
        Called with one line per seed.
    decoded : mapping of str to Control, optional
        Controls decoded by the LLM.

    Returns
    -------
    Trials
    """
    found: Trials = {}
    for seed in seeds:
        real, synthetic = draw(material, seed)
        left = draw_decoded(material, seed, decoded or {})
        arms = training_sets(real, synthetic, seed, controls or available(), left)
        for key, scores in score_arms(arms, material.test, seed, classifiers, encode).items():
            found.setdefault(key, []).append(scores)
        log(f"utility: seed {seed} done")
    return found


def score_arms(
    arms: Mapping[str, tuple[Rows, np.ndarray | None]],
    test: Rows,
    seed: int,
    classifiers: Mapping[str, Classifier],
    encode: Callable[[list[str]], np.ndarray],
) -> dict[tuple[str, str], Scores]:
    """Score each classifier on each arm that it can read; keyed by (classifier, arm).

    Parameters
    ----------
    arms : mapping of str to (Rows, weights or None)
        As returned by `training_sets`.
    test : Rows
    seed : int
    classifiers, encode
        As in `run_trials`.
    """
    found = {}
    for arm, (rows, weight) in arms.items():
        for name, classifier in classifiers.items():
            if name != "embedding" and not rows.has_text:
                continue  # SMOTE's points have no text
            ready = encoded(rows, encode) if name == "embedding" else rows
            found[name, arm] = score(ready, test, classifier, seed, weight)
    return found


def available(variants: Sequence[str] = ()) -> dict[str, Arm]:
    """The available controls; EDA goes without synonyms if the package with them is missing.

    Parameters
    ----------
    variants : sequence of {"borderline", "adasyn", "kmeans", "svm"}
        SMOTE variants on embeddings; their arms are called ``embedding_<variant>``.
    """
    left_out = "eda_without_synonyms"
    try:
        wordnet()
    except UserError:
        left_out = "eda"
    arms = {name: arm for name, arm in ARMS.items() if name != left_out}
    return arms | {f"embedding_{name}": VARIANT_ARMS[name] for name in variants}


def draw(material: EvaluationData, seed: int) -> tuple[Rows, Rows]:
    """The real rows kept by a seed, and the synthetic rows whose parents are all kept."""
    rows, new = drawn(material, seed)
    return material.real.take(rows), material.synthetic.take(new)


def drawn(material: EvaluationData, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The row numbers behind `draw`.

    A class keeps at least two rows, if it has them.
    """
    labels = np.asarray(material.real.labels)
    kept = np.ones(len(labels), bool)
    rng = np.random.default_rng([seed, 5])
    for label in sorted(set(material.real.labels)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        most = max(len(rows) - 2, 0)
        kept[rows[: min(round(LEFT_OUT * len(rows)), most)]] = False
    return np.flatnonzero(kept), np.flatnonzero(kept[material.parents].all(axis=1))


def draw_decoded(
    material: EvaluationData, seed: int, decoded: Mapping[str, Control]
) -> dict[str, Control]:
    """The part of the decoded controls that a seed keeps.

    A text with parents is kept if all of them are, like a synthetic text. From texts without
    parents, each class loses at random the same share that SMOTExT loses.
    """
    rows, new = drawn(material, seed)
    kept = np.isin(np.arange(len(material.real)), rows)
    total = Counter(material.synthetic.labels)
    stays = Counter(material.synthetic.labels[row] for row in new)
    shares = {label: stays[label] / count for label, count in total.items()}
    left = {}
    for name, control in decoded.items():
        if control.parents is None:
            counts = Counter(control.rows.labels)
            numbers = {k: round(shares.get(k, 0.0) * count) for k, count in counts.items()}
            left[name] = control.take(by_lot(control.rows.labels, numbers, [seed, 6]))
        else:
            left[name] = control.take(np.flatnonzero(kept[control.parents].all(axis=1)))
    return left


def by_lot(labels: Sequence[str], numbers: Mapping[str, int], seed: Sequence[int]) -> np.ndarray:
    """Sorted row numbers of a random sample of ``numbers[label]`` rows of each class."""
    rng = np.random.default_rng(seed)
    names, kept = np.asarray(labels), np.zeros(len(labels), bool)
    for label in sorted(set(labels)):
        rows = rng.permutation(np.flatnonzero(names == label))
        kept[rows[: numbers[label]]] = True
    return np.flatnonzero(kept)


def training_sets(
    real: Rows,
    synthetic: Rows,
    seed: int,
    controls: dict[str, Arm],
    decoded: Mapping[str, Control] | None = None,
) -> dict[str, tuple[Rows, np.ndarray | None]]:
    """Each arm's training rows, and their weights or None.

    A decoded control adds at most as many rows to each class as there are synthetic texts of it.
    Synthetic texts only is an arm only if every class has some.
    """
    counts, new = Counter(real.labels), Counter(synthetic.labels)
    targets = {label: counts[label] + added for label, added in new.items()}
    sets = {name: arm(real, targets, seed) for name, arm in controls.items()}
    for name, control in (decoded or {}).items():
        added = control.rows.take(first_of_classes(control.rows.labels, new))
        sets[name] = real.joined(added), None
    sets[OWN] = real.joined(synthetic), None
    if new.keys() == counts.keys():
        sets[SYNTHETIC] = synthetic, None
    return sets


def utility_section(trials: Trials, test_rows: int, seeds: Sequence[int]) -> dict[str, Any]:
    """The ``utility`` section of a report."""
    rows, recall, gains, ratio = [], [], [], {}
    for (classifier, arm), scores in trials.items():
        summary, facts = summarize(scores, LEFT_OUT), {"classifier": classifier, "arm": arm}
        for metric in METRICS:
            values = [getattr(found, metric) for found in scores]
            rows.append(
                facts | {"metric": metric, "values": values} | _share(bounds(summary, metric))
            )
        recall += [facts | {"label": k} | _share(_json(v)) for k, v in summary.recall.items()]
        if arm == SYNTHETIC:
            ratio[classifier] = _compared(ratios(scores, trials[classifier, "nothing"], LEFT_OUT))
        elif arm != OWN:
            less = differences(trials[classifier, OWN], scores, LEFT_OUT)
            gains += [
                {"classifier": classifier, "metric": m, "against": arm} | bounds(less, m)
                for m in METRICS
            ]
    return {
        "test_rows": test_rows,
        "seeds": list(seeds),
        "rows": rows,
        "recall": recall,
        "tstr_ratio": ratio or None,
        "gains": gains,
        "verdicts": _verdicts(trials),
    }


def _verdicts(trials: Trials) -> list[dict[str, Any]]:
    """Whether each gain is credited to interpolation, if both controls were scored."""
    found = []
    for classifier in dict.fromkeys(classifier for classifier, _ in trials):
        arms = [trials.get((classifier, arm)) for arm in ("shuffled", "label_only")]
        if not all(arms):
            continue
        own = trials[classifier, OWN]
        shuffled, label_only = (differences(own, scores, LEFT_OUT) for scores in arms if scores)
        for metric in METRICS:
            over = getattr(shuffled, metric), getattr(label_only, metric)
            found.append(
                {
                    "classifier": classifier,
                    "metric": metric,
                    "counts": gain_is_interpolations(*over),
                    "over_shuffled": _json(over[0]),
                    "over_label_only": _json(over[1]),
                }
            )
    return found


def _compared(summary: Summary) -> dict[str, Any]:
    return {metric: bounds(summary, metric) for metric in METRICS}


def bounds(summary: Summary, metric: str) -> dict[str, Any]:
    """Mean and interval of a metric, in the report's form."""
    return _json(getattr(summary, metric))


def _share(interval: dict[str, Any]) -> dict[str, Any]:
    """Of a score, which is at most 1; Student's interval knows no bounds."""
    if interval["low"] is None:
        return interval
    return interval | {"low": max(interval["low"], 0.0), "high": min(interval["high"], 1.0)}


def _json(interval: Interval) -> dict[str, Any]:
    found = interval.as_json()
    return {name: found[name] for name in ("mean", "low", "high")}
