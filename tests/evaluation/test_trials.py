"""Decoded controls as arms: drawn as the new texts are, and never more of them."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from smotext_ray.evaluation.controls.decode import Control
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.statistics import holm, p_value
from smotext_ray.evaluation.utility.arms import ARMS
from smotext_ray.evaluation.utility.classifiers import CLASSIFIERS
from smotext_ray.evaluation.utility.draws import LEFT_OUT, Made, draw, draw_decoded, drawn
from smotext_ray.evaluation.utility.scores import METRICS, Scores, measure
from smotext_ray.evaluation.utility.section import utility_section
from smotext_ray.evaluation.utility.training_sets import splits
from smotext_ray.evaluation.utility.trials import (
    OWN,
    SYNTHETIC,
    available,
    run_trials,
    training_sets,
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
        of_text = dict(zip(control.rows.texts, control.parents.tolist(), strict=True))
        assert [of_text[text] for text in left.rows.texts] == kept[left.origins].tolist()


def test_texts_without_parents_go_by_lot_in_the_same_share(material, decoded):
    draws = [draw_decoded(material, seed, decoded)["label_only"].rows for seed in range(5)]
    for seed, left in enumerate(draws):
        _, synthetic = draw(material, seed)
        share = {k: n / NEW[k] for k, n in Counter(synthetic.rows.labels).items()}
        assert Counter(left.labels) == {"grain": round(share["grain"] * 20),
                                        "ship": round(share["ship"] * 4)}  # fmt: skip
        assert set(left.texts) < set(decoded["label_only"].rows.texts)
    assert draw_decoded(material, 0, decoded)["label_only"].rows.texts == draws[0].texts
    assert len({tuple(left.texts) for left in draws}) == 5


def test_an_arm_adds_at_most_as_many_rows_as_there_are_new_ones(material, decoded):
    real, synthetic = draw(material, seed=0)
    left = draw_decoded(material, 0, decoded)
    first = [i for i, label in enumerate(synthetic.rows.labels) if label == "grain"][:3]
    few = Made(synthetic.rows.take(first), synthetic.origins[first])
    for new in (synthetic, few):
        sets = training_sets(real, new, 0, {}, left)
        for name, control in left.items():
            made = sets[name].rows
            assert sets[name].weight is None and made.texts[: len(real)] == real.texts
            added = Counter(made.labels) - Counter(real.labels)
            most, there = Counter(new.rows.labels), Counter(control.rows.labels)
            assert added == {k: min(n, there[k]) for k, n in most.items()}
            assert set(made.texts[len(real) :]) <= set(control.rows.texts)


def test_controls_are_scored_with_the_others(material, decoded):
    trials = run_trials(
        material, range(2), CLASSIFIERS, None, NOTHING, log=lambda line: None, decoded=decoded
    )
    for arm in ("shuffled", "label_only", OWN):
        for classifier in CLASSIFIERS:
            assert [scores.seed for scores in trials[classifier, arm]] == [0, 1]


def test_every_arm_knows_what_its_rows_are_made_of(material, decoded):
    real, synthetic = draw(material, seed=1)
    sets = training_sets(real, synthetic, 1, available(), draw_decoded(material, 1, decoded))
    assert {"random_oversampling", "embedding_smote", "shuffled", "label_only", OWN} <= set(sets)
    for name, training in sets.items():
        rows = training.rows
        if training.real:
            assert training.origins[: len(real), 0].tolist() == list(range(len(real)))
        made = training.origins[training.real :]
        if name == "label_only":
            assert (made == -1).all()
        elif name != "shuffled":  # whose points are of any class
            labels = np.array(real.labels)
            for label, parents in zip(rows.labels[training.real :], made, strict=True):
                assert set(labels[parents[parents >= 0]]) == {label}
    own = sets[OWN].origins[len(real) :]
    _, new = drawn(material, 1)
    kept, _ = drawn(material, 1)
    assert (kept[own] == material.parents[new]).all()


def test_small_classes_vary_between_draws_too():
    few = SimpleNamespace(
        real=rows({"grain": 4, "ship": 40}, "real"),
        parents=np.array([[0, 1]]),
    )
    sizes = [np.sum(drawn(few, seed)[0] < 4) for seed in range(200)]
    assert set(sizes) == {3, 4} and np.mean(sizes) == pytest.approx(3.6, abs=0.1)
    pair = SimpleNamespace(real=rows({"grain": 2, "ship": 2}, "real"), parents=np.array([[0, 1]]))
    assert all(len(drawn(pair, seed)[0]) == 4 for seed in range(20))


def test_a_control_with_fewer_texts_has_an_arm_with_as_many(material, decoded):
    real, synthetic = draw(material, seed=0)
    left = draw_decoded(material, 0, decoded)
    sets = training_sets(real, synthetic, 0, {}, left)
    assert "as_many_as_shuffled" not in sets or sets["shuffled"].real < len(sets[OWN])
    cut, control = sets["as_many_as_label_only"], sets["label_only"]
    assert Counter(cut.rows.labels) == Counter(control.rows.labels)
    assert set(cut.rows.texts) < set(sets[OWN].rows.texts)


def test_an_arm_is_of_all_draws_or_of_none(material, decoded):
    """A control may add fewer texts in some draws alone, and a class may lose its only one."""
    seeds = range(8)
    drawn_of = {seed: draw(material, seed)[1] for seed in seeds}
    fewer = [
        not Counter(drawn_of[seed].rows.labels)
        <= Counter(draw_decoded(material, seed, decoded)["shuffled"].rows.labels)
        for seed in seeds
    ]
    assert set(fewer) == {False, True}
    trials = run_trials(
        material, seeds, CLASSIFIERS, None, NOTHING, log=lambda line: None, decoded=decoded
    )
    assert ("embedding", "as_many_as_shuffled") in trials
    assert {len(scores) for scores in trials.values()} == {8}
    utility_section(trials, material.test.labels, seeds, decoded)


def test_synthetic_texts_alone_are_scored_if_every_draw_has_some_of_every_class(material):
    one = rows({"grain": 20, "ship": 1}, "new")
    few = SimpleNamespace(**vars(material) | {"synthetic": one, "parents": parents_of(one.labels)})
    kept = [set(draw(few, seed)[1].rows.labels) for seed in range(12)]
    assert {"grain"} in kept and {"grain", "ship"} in kept
    trials = run_trials(few, range(12), CLASSIFIERS, None, NOTHING, log=lambda line: None)
    assert ("embedding", OWN) in trials and ("embedding", SYNTHETIC) not in trials
    assert utility_section(trials, few.test.labels, range(12))["tstr_ratio"] is None


def scored(*values, predicted=()):
    measures = ("accuracy", "macro_f1", "balanced_accuracy")
    return [
        Scores(seed=seed, recall={"grain": value}, predicted=predicted,
               **dict.fromkeys(measures, value))
        for seed, value in enumerate(values)
    ]  # fmt: skip


def section(trials, labels=("grain",)):
    seeds = range(len(next(iter(trials.values()))))
    return utility_section(trials, labels, seeds)


def test_the_baseline_is_compared_without_adjustment_and_the_others_with_it():
    own = (0.90, 0.912, 0.919)
    trials = {
        ("embedding", OWN): scored(*own),
        ("embedding", "class_weights"): scored(0.88, 0.89, 0.90),
        ("embedding", "nothing"): scored(0.86, 0.88, 0.87),
        ("embedding", "eda"): scored(0.87, 0.88, 0.88),
        ("embedding", "synthetic_only"): scored(0.8, 0.8, 0.8),
    }
    found = section(trials)
    assert found["baseline"] == "class_weights"
    gains = {g["against"]: g for g in found["gains"] if g["metric"] == "macro_f1"}
    assert set(gains) == {"class_weights", "nothing", "eda"}

    def raw(arm):
        less = [a - b.macro_f1 for a, b in zip(own, trials["embedding", arm], strict=True)]
        return p_value(less, LEFT_OUT)

    assert gains["class_weights"]["p"] == raw("class_weights")
    expected = holm([raw("nothing"), raw("eda")])
    assert [gains["nothing"]["p"], gains["eda"]["p"]] == expected != [raw("nothing"), raw("eda")]


def test_synthetic_texts_alone_are_compared_by_ratio_and_by_difference():
    trials = {
        ("tfidf", OWN): scored(0.9, 0.9),
        ("tfidf", "nothing"): scored(0.8, 0.8),
        ("tfidf", "synthetic_only"): scored(0.6, 0.6),
    }
    found = section(trials)
    assert found["tstr_ratio"]["tfidf"]["macro_f1"]["mean"] == pytest.approx(0.75)
    assert found["tstr_difference"]["tfidf"]["macro_f1"]["mean"] == pytest.approx(-0.2)
    del trials["tfidf", "synthetic_only"]
    assert section(trials)["tstr_difference"] is None


def test_a_gain_over_the_baseline_has_both_intervals():
    labels = ["grain", "ship"] * 100
    half = tuple(["grain"] * 200)
    trials = {
        ("tfidf", OWN): [measure(labels, labels, seed) for seed in range(3)],
        ("tfidf", "class_weights"): [measure(labels, half, seed) for seed in range(3)],
    }
    found = utility_section(trials, labels, range(3))["over_baseline"]
    by_metric = {row["metric"]: row for row in found}
    assert set(by_metric) == set(METRICS)
    both = by_metric["macro_f1"]
    assert both["over_test_rows"]["low"] > 0.5 and both["over_test_rows"]["n"] == 200
    assert both["helps"] is True and both["own"] == 1.0 and both["baseline"] < 0.5
    assert by_metric["accuracy"]["over_test_rows"] is None
    one = {key: scores[:1] for key, scores in trials.items()}
    (first, *_) = utility_section(one, labels, range(1))["over_baseline"]
    assert first["helps"] is None and first["over_draws"]["low"] is None


def test_interpolation_is_credited_only_over_lam_0_and_the_class_name():
    trials = {
        ("embedding", OWN): scored(0.9, 0.91, 0.92),
        ("embedding", "lam_0"): scored(0.8, 0.811, 0.82),
        ("embedding", "label_only"): scored(0.8, 0.81, 0.821),
        ("tfidf", OWN): scored(0.9, 0.91, 0.92),
        ("tfidf", "shuffled"): scored(0.2, 0.2, 0.2),
        ("tfidf", "label_only"): scored(0.8, 0.82, 0.82),
    }
    verdicts = section(trials)["verdicts"]
    assert {v["classifier"]: v["counts"] for v in verdicts} == {"embedding": True}
    trials["embedding", "lam_0"] = scored(0.95, 0.8, 0.96)
    assert not any(v["counts"] for v in section(trials)["verdicts"])
    one = {key: scores[:1] for key, scores in trials.items()}
    (verdict, *_) = section(one)["verdicts"]
    assert verdict["over_lam_0"]["p"] is None and verdict["counts"] is False


def test_a_control_is_compared_with_as_many_texts_as_it_has():
    trials = {
        ("tfidf", OWN): scored(0.9, 0.9),
        ("tfidf", "label_only"): scored(0.8, 0.8),
        ("tfidf", "as_many_as_label_only"): scored(0.85, 0.85),
    }
    (gain,) = [g for g in section(trials)["gains"] if g["metric"] == "macro_f1"]
    assert gain["against"] == "label_only" and gain["mean"] == pytest.approx(0.05)


def test_a_control_without_texts_is_named_and_not_scored(material, decoded):
    none = decoded["shuffled"].take([])
    controls = {"lam_0": none, "label_only": decoded["label_only"]}
    trials = run_trials(
        material, [0], CLASSIFIERS, None, NOTHING, log=lambda line: None, decoded=controls
    )
    assert not any("lam_0" in arm for _, arm in trials)
    found = utility_section(trials, material.test.labels, [0], controls)
    assert found["empty_arms"] == [{"arm": "lam_0", "asked": 40}]


def test_the_nearest_class_mean_reads_the_synthetic_texts_too(material, decoded):
    classifiers = {"embedding": CLASSIFIERS["embedding"]}
    scores = run_trials(material, [0, 1], classifiers, None, NOTHING)
    both, real = (scores["embedding", arm] for arm in ("nearest_centroid_of_both", OWN))
    assert [score.seed for score in both] == [score.seed for score in real]
    section = utility_section(scores, material.test.labels, [0, 1])
    assert "nearest_centroid_of_both" in {row["arm"] for row in section["rows"]}
    assert "nearest_centroid_of_both" not in {gain["against"] for gain in section["gains"]}


def test_arms_are_scored_alike_side_by_side(material, monkeypatch):
    alone = run_trials(material, [0, 1], CLASSIFIERS, None, NOTHING, log=lambda line: None)
    monkeypatch.setattr(f"{run_trials.__module__}.ROWS_FOR_ALL_CORES", 0)
    monkeypatch.setattr(f"{run_trials.__module__}.usable_cores", lambda: 2)
    both = run_trials(material, [0, 1], CLASSIFIERS, None, NOTHING, log=lambda line: None)
    assert list(both) == list(alone) and both == alone


def test_texts_without_parents_are_tuned_on_by_themselves(material):
    new = material.synthetic
    released = SimpleNamespace(**{**vars(material), "parents": np.empty((len(new), 0), np.int64)})
    classifiers = {"embedding": CLASSIFIERS["embedding"]}
    scores = run_trials(released, [0, 1], classifiers, None, NOTHING)
    assert len(scores["embedding", SYNTHETIC]) == 2
    (sets,) = [training_sets(released.real, Made(new, released.parents), 0, NOTHING)]
    folds = splits(sets[SYNTHETIC], 4, seed=0)
    assert len(folds) == 4
    validated = np.concatenate([validate for _, validate in folds])
    assert sorted(validated) == list(range(len(new)))
