"""The scores of `utility.py`: how they are kept, and the tables of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

CLASSIFIERS = ("bert", "embedding", "second_encoder", "tfidf")
# In the tables' order: real rows alone, their copies, texts without the LLM, decoded ones, ours.
ARMS = (
    "nothing",
    "class_weights",
    "prior_corrected",
    "nearest_centroid",
    "contrastive",
    "gate_alone",
    "random_oversampling",
    "embedding_smote",
    "eda",
    "eda_without_synonyms",
    "markov",
    "shuffled",
    "class_mean",
    "label_only",
    "lam_0",
    "parents_as_text",
    "ungated",
    "labeled_by_gate",
    "real_and_synthetic",
    "nearest_centroid_of_both",
    "contrastive_of_both",
    "weighted_by_class",
    "balanced_by_class",
    "weighted_by_constant",
    "weighted_by_teacher",
    "softly_labeled",
    "synthetic_only",
)


def write_scores(file: Path, found: Mapping[tuple[str, str], Any], rows: int) -> None:
    """Keep scores and predictions of an arm, and of the baselines on its rows; whole or not."""
    kept = [
        {"classifier": classifier, "arm": arm, "rows": rows, "predicted": score.predicted}
        | score.as_json()
        for (classifier, arm), score in found.items()
    ]
    file.parent.mkdir(exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(kept) + "\n")
    new.replace(file)


def show(home: Path, seeds: int) -> None:
    """Print the tables, as Markdown, and write their figures to results.json."""
    from smotext_ray.evaluation.utility.scores import Scores
    from smotext_ray.evaluation.utility.verdicts import BASELINE, gains

    trials: dict[tuple[str, str], list[Any]] = {}
    rows: dict[tuple[str, str], list[int]] = {}
    for seed in range(seeds):
        for file in sorted((home / f"seed-{seed}" / "scores").glob("*.json")):
            for score in json.loads(file.read_text()):
                key = score.pop("classifier"), score.pop("arm")
                rows.setdefault(key, []).append(score.pop("rows"))
                score["predicted"] = tuple(score["predicted"])
                trials.setdefault(key, []).append(Scores(**score))
    # A table compares equal draws: what a seed lacks, a control without texts say, is left out.
    everywhere = {key: scores for key, scores in trials.items() if len(scores) == seeds}
    trials = dict(sorted(everywhere.items(), key=_place))
    labels = pq.read_table(home / "seed-0" / "test.parquet")["label"].to_pylist()
    over = gains(trials, left_out=0.0)  # every seed is a run of its own
    results = {}
    for classifier in dict.fromkeys(classifier for classifier, _ in trials):
        print(f"\n{home.name}, {classifier} classifier, {seeds} seeds\n")
        mine = {arm: scores for (name, arm), scores in trials.items() if name == classifier}
        less = {g.against: g for g in over if (g.classifier, g.metric) == (classifier, "macro_f1")}
        numbers = {arm: float(np.mean(rows[classifier, arm])) for arm in mine}
        results[classifier] = show_arms(mine, numbers, less)
        results[classifier]["over_test_rows"] = show_test_rows(labels, mine, BASELINE)
    (home / "results.json").write_text(json.dumps(results, indent=1) + "\n")


def _place(scored: tuple[tuple[str, str], Any]) -> tuple[Any, ...]:
    """Classifiers in the order of their options, arms in that of `ARMS`, then by name."""
    (classifier, arm), _ = scored
    places = {name: place for place, name in enumerate(ARMS)}
    return CLASSIFIERS.index(classifier), places.get(arm, len(ARMS)), arm


def show_arms(
    arms: dict[str, list[Any]], rows: dict[str, float], less: dict[str, Any]
) -> dict[str, Any]:
    """Print the table of a classifier: each arm, and what the synthetic texts gain over it."""
    from smotext_ray.evaluation.utility.scores import METRICS, differences, ratios, summarize
    from smotext_ray.evaluation.utility.trials import SYNTHETIC

    results: dict[str, Any] = {}
    print("| trained on | rows | accuracy | macro-F1 | balanced | gain over this | p |")
    print("|---|---|---|---|---|---|---|")
    for arm, scores in arms.items():
        summary = summarize(scores)
        figures = " | ".join(f"{getattr(summary, name).mean:.3f}" for name in METRICS)
        results[arm] = summary.as_json() | {"rows": rows[arm]}
        gain = less.get(arm)
        words, p = "", ""
        if gain is not None:
            by = gain.difference
            bounds = f" ({by.low:+.3f} to {by.high:+.3f})" if by.n > 1 else ""
            words, p = f"{by.mean:+.3f}{bounds}", f"{gain.p:.3f}" if by.n > 1 else ""
            results[arm]["new_texts_less_this"] = gain.as_json()
        print(f"| {arm} | {rows[arm]:.0f} | {figures} | {words} | {p} |")
    if SYNTHETIC in arms:
        share = ratios(arms[SYNTHETIC], arms["nothing"])
        by = differences(arms[SYNTHETIC], arms["nothing"]).macro_f1
        bounds = f" ({by.low:+.3f} to {by.high:+.3f})" if by.n > 1 else ""
        print(
            f"\nSynthetic texts alone reach {share.accuracy.mean:.1%} of the real ones' accuracy "
            f"and {share.macro_f1.mean:.1%} of their macro-F1: {by.mean:+.3f}{bounds}."
        )
        results["tstr_over_trtr"] = share.as_json()
    return results


def show_test_rows(
    labels: list[str], arms: dict[str, list[Any]], baseline: str
) -> dict[str, Any] | None:
    """Print the gain over the baseline with its interval over test rows."""
    from smotext_ray.evaluation.utility.trials import OWN
    from smotext_ray.evaluation.utility.verdicts import over_test_rows

    if not {OWN, baseline} <= arms.keys():  # of --arms
        return None
    found = over_test_rows(labels, arms[OWN], arms[baseline])
    if found is None:
        return None
    print(
        f"\nOver {baseline}, by a bootstrap over the test rows: {found.mean:+.3f} "
        f"({found.low:+.3f} to {found.high:+.3f})."
    )
    return found.as_json()
