"""The head of a report: verdict, warnings, and what was not measured."""

from __future__ import annotations

import copy
from typing import get_args

import numpy as np
import pytest
from made_report import made_report

from smotext_ray.config.choices import OtherVariant
from smotext_ray.evaluation.controls.decode import NAMES
from smotext_ray.evaluation.fidelity.by_class import nearest_other
from smotext_ray.evaluation.report.sections import _lengths
from smotext_ray.evaluation.report.summary import summary, summary_lines
from smotext_ray.evaluation.report.unmeasured import unmeasured
from smotext_ray.evaluation.report.verdict import call, sentence, verdicts
from smotext_ray.evaluation.report.warnings import warnings
from smotext_ray.evaluation.report.words import ARMS as ARM_WORDS
from smotext_ray.evaluation.utility.arms import ARMS
from smotext_ray.evaluation.utility.classifiers import OF_REAL_ROWS, baselines
from smotext_ray.evaluation.utility.fine_tuning import FineTuned
from smotext_ray.evaluation.utility.trials import AS_MANY_AS, OWN, SYNTHETIC


def bounds(low, high):
    return {"mean": (low + high) / 2, "low": low, "high": high}


def utility(real=0.909, weights=0.916, both=0.925, gain=(0.009, 0.022), over=(-0.002, 0.02)):
    means = {"nothing": real, "class_weights": weights, "eda": 0.9, "real_and_synthetic": both}
    key = {"classifier": "embedding", "metric": "macro_f1"}
    rows = [key | {"arm": arm, "mean": mean} for arm, mean in means.items()]
    against = {"nothing": gain, "class_weights": over, "eda": (0.01, 0.03)}
    recall = {
        ("nothing", "ship"): 0.62,
        ("real_and_synthetic", "ship"): 0.76,
        ("nothing", "grain"): 0.8,
        ("real_and_synthetic", "grain"): 0.7,
        ("nothing", "earn"): 0.9,
        ("real_and_synthetic", "earn"): 0.1,
    }
    return {
        "rows": rows,
        "gains": [key | {"against": arm} | bounds(*over) for arm, over in against.items()],
        "recall": [
            {"classifier": "embedding", "arm": arm, "label": label, "mean": mean}
            for (arm, label), mean in recall.items()
        ],
        "seeds": [0, 1, 2],
    }


def test_one_line_has_gain_interval_best_control_and_recall():
    (found,) = verdicts(utility(), ["grain", "ship"])
    assert sentence(found) == (
        "logistic regression on embeddings: macro-F1 0.909 -> 0.925 (+0.015, 95% +0.009 to "
        "+0.022); best control class weights 0.916; recall of ship 0.62 -> 0.76"
    )


def test_recall_is_of_the_raised_class_that_changed_most_also_down():
    scores = utility()
    scores["recall"][3]["mean"] = 0.5  # grain falls by 0.3, ship rises by 0.14
    (found,) = verdicts(scores, ["grain", "ship"])
    assert found["recall"] == {"label": "grain", "before": 0.8, "after": 0.5}
    assert verdicts(scores, [])[0]["recall"] is None


@pytest.mark.parametrize(
    ("gain", "above", "over", "expected"),
    [
        ((0.01, 0.02), True, (0.001, 0.01), "better"),
        ((0.01, 0.02), True, (-0.001, 0.01), "better"),
        ((0.01, 0.02), True, None, "better"),
        ((0.01, 0.02), False, (0.001, 0.01), "not above the baseline"),
        ((0.01, 0.02), None, (0.001, 0.01), "not above the baseline"),
        ((0.01, 0.02), True, (-0.02, -0.01), "below the best control"),
        ((-0.01, 0.02), True, (0.001, 0.01), "unclear"),
        ((-0.02, -0.01), True, (0.001, 0.01), "worse"),
        ((None, None), None, None, "unclear"),
    ],
)
def test_the_verdict_follows_from_the_intervals(gain, above, over, expected):
    def interval(found):
        return found and {"mean": 0.0, "low": found[0], "high": found[1]}

    assert call(interval(gain), above, interval(over)) == expected


def test_the_words_name_the_baseline_or_what_is_better():
    def words(helps, **given):
        scores = utility(**given)
        key = {"classifier": "embedding", "metric": "macro_f1"}
        scores |= {"baseline": "class_weights", "over_baseline": [key | {"helps": helps}]}
        return verdicts(scores, [])[0]["words"]

    assert words(True) == "Better than real texts alone and than class weights"
    assert words(False) == "Better than real texts alone, but not measurably than class weights"
    assert words(False, weights=0.95, over=(-0.03, -0.02)) == (
        "Better than real texts alone, but worse than class weights"
    )


def test_a_single_seed_has_no_interval_and_no_verdict():
    scores = utility()
    for gain in scores["gains"]:
        gain.update(low=None, high=None)
    (found,) = verdicts(scores, ["ship"])
    assert "(+0.015, one seed, no interval)" in sentence(found)
    assert found["words"] == "No measurable difference from real texts alone"


def test_the_fine_tuned_classifier_comes_first():
    scores = utility()
    scores["rows"] += [row | {"classifier": "bert"} for row in scores["rows"]]
    scores["gains"] += [gain | {"classifier": "bert"} for gain in scores["gains"]]
    assert [found["classifier"] for found in verdicts(scores, [])] == ["bert", "embedding"]


def test_every_arm_has_words():
    arms = {*ARMS, *(f"embedding_{name}" for name in get_args(OtherVariant))}
    arms |= {arm for others in OF_REAL_ROWS.values() for arm in others}
    arms |= baselines("bert", FineTuned("")).keys()
    arms |= {*NAMES, *(AS_MANY_AS + name for name in NAMES), SYNTHETIC, OWN}
    assert arms <= ARM_WORDS.keys()


# Warnings


def weakened(**changes):
    """The warnings of a report of nothing else to warn of."""
    report = copy.deepcopy(made_report())
    report["run"] |= {"test_texts_in_corpus": 0}
    for row in report["by_class"]:
        row |= {"test": 100, "agreement": 0.9}
    for name, change in changes.items():
        report[name] = change(report[name])
    return warnings(report)


def test_a_sound_report_has_no_warnings():
    assert weakened() == []


def test_texts_of_another_length_than_the_real_ones():
    def shorter(fidelity):
        fidelity["diversity"]["synthetic"]["length"]["median"] = 12.0
        return fidelity

    (found,) = weakened(fidelity=shorter)
    assert "8.0 times shorter" in found and "a median of 12 words, not 96" in found


def test_an_attack_whose_interval_lies_above_chance():
    def attacked(low):
        value = {"mean": 0.65, "low": low, "high": 0.77}
        row = {"name": "membership attack by max_cosine, AUC", "value": value, "note": ""}
        return lambda privacy: {"rows": [row]}

    assert weakened(privacy=attacked(0.49)) == []
    (found,) = weakened(privacy=attacked(0.53))
    assert "AUC 0.65 (0.53 to 0.77)" in found


def test_copies_wrong_labels_and_missing_texts():
    copies = {"name": "verbatim copies", "value": 0.012, "note": ""}
    (found,) = weakened(privacy=lambda privacy: {"rows": [copies]})
    assert found.startswith("1.2% of the synthetic texts")
    (found,) = weakened(by_class=lambda rows: [rows[0], rows[1] | {"agreement": 0.7}])
    assert "takes 70% of the synthetic texts of ship for ship, and 93% of its real ones" in found
    (found,) = weakened(classes=lambda rows: [*rows[:-1], rows[-1] | {"accepted": 100}])
    assert found == "Texts short of the target: grain 19."


def test_a_weak_test_set_and_a_quick_report():
    (found,) = weakened(run=lambda run: run | {"test_texts_in_corpus": 4})
    assert found.startswith("4 of the 2,189 test texts are in the corpus too")
    (found,) = weakened(by_class=lambda rows: [rows[0] | {"test": 10}, rows[1]])
    assert found == "Few test texts, so the recall is uncertain: grain 10."
    (found,) = weakened(run=lambda run: run | {"quick": True})
    assert "--quick" in found
    (found,) = weakened(utility=lambda utility: utility | {"seeds": [0]})
    assert "one seed" in found


# What was not measured


def test_each_missing_measure_has_the_command_that_makes_it():
    report = made_report()
    whole = {entry["what"] for entry in unmeasured(report)}
    for name in ("perplexity", "decoded_texts"):
        del report["fidelity"][name]
    report["distillation"] = None
    report["run"]["uri"] = "runs/my run"
    rows = report["utility"]["rows"]
    report["utility"]["rows"] = [row for row in rows if row["arm"] != "synthetic_only"]
    found = {entry["what"]: entry["command"] for entry in unmeasured(report)}
    added = found.keys() - whole
    assert len(added) == 3
    assert (
        "smotext evaluate --run 'runs/my run' --test s3://corpora/reuters/r8-test.parquet"
        in (found["distillation from a teacher"])
    )
    assert any("lam 0" in what for what in added)
    assert any("every class" in what and found[what] is None for what in added)


def test_the_terminal_has_verdicts_and_warnings():
    report = made_report()
    lines = summary_lines(summary(report))
    assert lines[1].startswith("  logistic regression on embeddings: macro-F1 0.757 -> 0.868")
    assert [f"Warning: {words}" for words in report["summary"]["warnings"]] == lines[4:]


# Figures


def test_lengths_that_spread_far_are_on_a_log_axis():
    rng = np.random.default_rng(0)
    words = {"real": rng.integers(20, 900, 500).tolist(), "synthetic": [3, 4, 5] * 20}
    found = _lengths(words)
    assert found["scale"] == "log"
    for group, series in zip(words, found["series"], strict=True):
        assert series["counts"].sum() == len(words[group])  # none is clipped
        assert (np.diff(series["edges"]) >= 1).all()
    near = {"real": [40, 50, 60], "synthetic": [45, 55]}
    assert _lengths(near)["scale"] == "linear"


def test_the_nearest_other_text_is_not_the_text_itself():
    x = np.eye(3)[[0, 0, 1]]
    assert nearest_other(x) == 1.0  # two of three have a twin
    assert nearest_other(np.eye(3)) == 0.0
    assert nearest_other(x[:1]) is None
