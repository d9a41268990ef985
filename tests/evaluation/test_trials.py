"""Decoded controls as arms: drawn as the new texts are, and never more of them."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from smotext_ray.evaluation.controls.decode import Control
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.statistics import Interval
from smotext_ray.evaluation.utility.arms import ARMS, gain_is_interpolations
from smotext_ray.evaluation.utility.classifiers import CLASSIFIERS
from smotext_ray.evaluation.utility.scores import differences
from smotext_ray.evaluation.utility.trials import (
    LEFT_OUT,
    METRICS,
    OWN,
    draw,
    draw_decoded,
    drawn,
    run_trials,
    training_sets,
    utility_section,
)

COUNTS = {"grain": 30, "ship": 40}
NEW = {"grain": 20, "ship": 10}
NOTHING = {"nothing": ARMS["nothing"]}  # the control that needs no embeddings


def rows(counts, kind, noise=0.3, dim=6, seed=0):
    """Grain along the first axis, ship along the second; the texts name their class."""
    rng = np.random.default_rng([seed, len(kind)])
    labels = [label for label, count in counts.items() for _ in range(count)]
    x = rng.normal(scale=noise, size=(len(labels), dim))
    x[np.arange(len(labels)), [list(COUNTS).index(label) for label in labels]] += 1
    texts = [f"{kind} {row} of {label}" for row, label in enumerate(labels)]
    return Rows(texts, x.astype(np.float32), labels)


def parents_of(labels, seed=1):
    rng = np.random.default_rng(seed)
    start = {"grain": 0, "ship": 30}
    return np.array([start[k] + rng.permutation(COUNTS[k])[:2] for k in labels], np.int64)


@pytest.fixture(scope="module")
def material():
    synthetic = rows(NEW, "new")
    return SimpleNamespace(
        real=rows(COUNTS, "real"),
        synthetic=synthetic,
        test=rows({"grain": 25, "ship": 25}, "unseen"),
        parents=parents_of(synthetic.labels),
    )


@pytest.fixture(scope="module")
def decoded():
    shuffled = rows({"grain": 20, "ship": 10}, "shuffled")
    label_only = rows({"grain": 20, "ship": 4}, "label_only")
    parents = parents_of(list(reversed(shuffled.labels)), seed=2)
    return {
        "shuffled": Control(shuffled, parents, asked=40, accepted=33),
        "label_only": Control(label_only, None, asked=40, accepted=24),
    }


def test_texts_of_left_out_parents_are_left_out(material, decoded):
    for seed in range(3):
        kept, _ = drawn(material, seed)
        left = draw_decoded(material, seed, decoded)["shuffled"]
        there = set(left.rows.texts)
        assert 0 < len(there) < 30
        control = decoded["shuffled"]
        for text, parents in zip(control.rows.texts, control.parents, strict=True):
            assert (text in there) == (set(parents) <= set(kept))
        assert len(left.parents) == len(left.rows)


def test_texts_without_parents_go_by_lot_in_the_same_share(material, decoded):
    draws = [draw_decoded(material, seed, decoded)["label_only"].rows for seed in range(5)]
    for seed, left in enumerate(draws):
        _, synthetic = draw(material, seed)
        share = {k: n / NEW[k] for k, n in Counter(synthetic.labels).items()}
        assert Counter(left.labels) == {"grain": round(share["grain"] * 20),
                                        "ship": round(share["ship"] * 4)}  # fmt: skip
        assert set(left.texts) < set(decoded["label_only"].rows.texts)
    assert draw_decoded(material, 0, decoded)["label_only"].rows.texts == draws[0].texts
    assert len({tuple(left.texts) for left in draws}) == 5


def test_an_arm_adds_at_most_as_many_rows_as_there_are_new_ones(material, decoded):
    real, synthetic = draw(material, seed=0)
    left = draw_decoded(material, 0, decoded)
    few = synthetic.take([i for i, label in enumerate(synthetic.labels) if label == "grain"][:3])
    for new in (synthetic, few):
        sets = training_sets(real, new, 0, {}, left)
        for name, control in left.items():
            made, weights = sets[name]
            assert weights is None and made.texts[: len(real)] == real.texts
            added = Counter(made.labels) - Counter(real.labels)
            most, there = Counter(new.labels), Counter(control.rows.labels)
            assert added == {k: min(n, there[k]) for k, n in most.items()}
            assert set(made.texts[len(real) :]) <= set(control.rows.texts)


def test_controls_are_scored_beside_the_others(material, decoded):
    trials = run_trials(
        material, range(2), CLASSIFIERS, None, NOTHING, log=lambda line: None, decoded=decoded
    )
    for arm in ("shuffled", "label_only", OWN):
        for classifier in CLASSIFIERS:
            assert [scores.seed for scores in trials[classifier, arm]] == [0, 1]


def test_verdicts_are_the_rules_word_on_the_paired_differences(material, decoded):
    trials = run_trials(
        material, range(3), CLASSIFIERS, None, NOTHING, log=lambda line: None, decoded=decoded
    )
    section = utility_section(trials, 50, range(3))
    assert {(v["classifier"], v["metric"]) for v in section["verdicts"]} == {
        (classifier, metric) for classifier in CLASSIFIERS for metric in METRICS
    }
    for verdict in section["verdicts"]:
        over = []
        for arm in ("shuffled", "label_only"):
            own, other = (trials[verdict["classifier"], name] for name in (OWN, arm))
            over.append(getattr(differences(own, other, LEFT_OUT), verdict["metric"]))
            assert verdict[f"over_{arm}"]["low"] == over[-1].low
        assert verdict["counts"] is gain_is_interpolations(*over)


def test_a_verdict_is_given_both_ways_and_needs_both_controls():
    def scored(*values):
        measures = ("accuracy", "macro_f1", "balanced_accuracy")
        return [
            SimpleNamespace(seed=seed, recall={"grain": value}, **dict.fromkeys(measures, value))
            for seed, value in enumerate(values)
        ]

    trials = {
        ("embedding", OWN): scored(0.9, 0.91, 0.92),
        ("embedding", "shuffled"): scored(0.8, 0.82, 0.82),
        ("embedding", "label_only"): scored(0.8, 0.8, 0.81),
        ("tfidf", OWN): scored(0.9, 0.91, 0.92),
        ("tfidf", "shuffled"): scored(0.8, 0.82, 0.82),
    }
    verdicts = utility_section(trials, 5, range(3))["verdicts"]
    assert {v["classifier"]: v["counts"] for v in verdicts} == {"embedding": True}
    trials["embedding", "label_only"] = scored(0.95, 0.8, 0.96)
    assert not any(v["counts"] for v in utility_section(trials, 5, range(3))["verdicts"])
    one = {key: scores[:1] for key, scores in trials.items()}
    (verdict, *_) = utility_section(one, 5, range(1))["verdicts"]
    assert verdict["over_shuffled"]["low"] is None and verdict["counts"] is False
    assert not gain_is_interpolations(*[Interval(0.1, math.nan, math.nan, 1)] * 2)
