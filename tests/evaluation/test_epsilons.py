"""Utility against epsilon: a row for each run, and only for runs that can stand side by side."""

from __future__ import annotations

import numpy as np
import pytest
from evaluated_run import WordEncoder, finished_run, held_out_table
from handmade_run import build, corpus_table

from smotext_ray.config.schema import PrivacyConfig, RunConfig
from smotext_ray.errors import UserError
from smotext_ray.evaluation.inputs import new_samples, read_held_out
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility.classifiers import CLASSIFIERS
from smotext_ray.evaluation.utility.epsilons import _drawn, check_runs, utility_at_epsilons
from smotext_ray.evaluation.utility.training_sets import TrainingSet
from smotext_ray.privacy.promise import promise
from smotext_ray.run.manifest import Manifest


def with_epsilon(run, epsilon):
    manifest = Manifest.read(run)
    manifest.privacy = promise(RunConfig(privacy=PrivacyConfig(epsilon=epsilon)), {"name": "made"})
    manifest.save(run)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    plain, noised = (finished_run(tmp_path_factory.mktemp(name)) for name in ("plain", "noised"))
    return plain, with_epsilon(noised, 8.0)


def test_each_run_classifier_and_metric_has_a_row(runs, tmp_path):
    plain, _ = runs
    held_out = read_held_out(plain, held_out_table(tmp_path))
    encode = WordEncoder().encode
    test = Rows(held_out.texts, encode(held_out.texts), held_out.labels)
    rows = utility_at_epsilons(runs, test, range(3), CLASSIFIERS, encode)
    keys = [(row["epsilon"], row["classifier"], row["metric"]) for row in rows]
    metrics = ("accuracy", "macro_f1")
    assert keys == [(e, c, m) for e in (None, 8.0) for c in CLASSIFIERS for m in metrics]
    assert all(row["low"] <= row["mean"] <= row["high"] for row in rows)
    # Both runs hold the same texts: epsilon itself changes nothing here.
    half = len(rows) // 2
    assert [r["mean"] for r in rows[:half]] == [r["mean"] for r in rows[half:]]


def test_a_seed_leaves_out_a_tenth_of_each_class(runs):
    samples = new_samples(runs[0])
    labels = [str(label) for label in samples["label"].to_pylist()]
    texts = samples["text"].to_pylist()
    rows = Rows(texts, WordEncoder().encode(texts), labels)
    new = TrainingSet(rows, np.zeros((len(rows), 1), np.int64), real=0)
    drawn = _drawn(new, 0).rows
    for label in set(labels):
        count = labels.count(label)
        assert drawn.labels.count(label) == count - round(0.1 * count)
    assert drawn.texts != _drawn(new, 1).rows.texts


def test_two_runs_of_one_epsilon_are_refused(runs, tmp_path):
    other = with_epsilon(finished_run(tmp_path), 8.0)
    check_runs(*runs[:1], [other])
    with pytest.raises(UserError, match=r"privacy\.epsilon as another \(8\.0\)"):
        check_runs(runs[1], [other])
    with pytest.raises(UserError, match=r"privacy\.epsilon as another \(8\.0\)"):
        check_runs(runs[0], [runs[1], other])


def test_a_run_of_other_classes_is_refused(runs, tmp_path):
    table = corpus_table(label_of={"ship": "wheat"})
    other = with_epsilon(build(tmp_path, {"grain": 2}, corpus=table), 1.0)
    with pytest.raises(UserError, match="has other classes than"):
        check_runs(runs[0], [other])
