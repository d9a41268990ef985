"""Fine-tuning a tiny BERT: it learns, repeats, and takes weights, soft labels and pairs."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from made_rows import rows_of, topics
from tiny_models import tiny_encoder

from smotext_ray.evaluation.utility.classifiers import (
    CONTRASTIVE_OF_BOTH,
    baselines,
    baselines_of_both,
    score,
)
from smotext_ray.evaluation.utility.contrastive import Contrastive
from smotext_ray.evaluation.utility.fine_tuning import FineTuned, logits, tokens_of
from smotext_ray.evaluation.utility.training_sets import of_real


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    directory = tiny_encoder(tmp_path_factory.mktemp("encoder"))
    return partial(FineTuned, str(directory), batch_size=8, learning_rate=5e-3, device="cpu")


def test_fine_tuning_learns_and_repeats(tuned):
    train, test = topics(48), topics(30, seed=1)
    before = torch.random.get_rng_state()
    found = score(of_real(train), test, tuned(steps=72), seed=0)
    assert found.accuracy > 0.9
    assert found == score(of_real(train), test, tuned(steps=72), seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    # It is the training that does it.
    assert score(of_real(train), test, tuned(steps=0), seed=0).accuracy < 0.7


def test_fine_tuning_draws_by_its_seed(tuned):
    train, test = topics(12), topics(60, seed=1)
    guesses = {tuple(tuned(steps=0)(of_real(train), test, seed)) for seed in range(4)}
    assert len(guesses) > 1


def test_fine_tuning_heeds_weights_and_long_texts(tuned):
    train = rows_of(["corn1 " * 40] * 8, ["a", "b"] * 4)
    weights = np.array([9, 1.0] * 4)
    assert set(tuned(steps=4)(of_real(train, weights), train, 0)) == {"a"}
    assert set(tuned(steps=4)(of_real(train, weights[::-1]), train, 0)) == {"b"}


def test_soft_labels_are_learned_on_the_average(tuned):
    train = rows_of(["corn1 corn2"] * 24, ["a", "b", "c"] * 8)
    # Most rows say b, but all together they say a.
    targets = np.array([[0.40, 0.45, 0.15], [0.40, 0.45, 0.15], [0.96, 0.02, 0.02]] * 8)
    found = tuned(steps=24).learn(train, targets, train, 0)
    assert found.tolist() == [0] * 24
    assert tuned(steps=24).learn(train, targets[:, [2, 1, 0]], train, 0).tolist() == [2] * 24


def test_each_text_gets_its_own_logits(tuned):
    tokenizer, model = tuned()._load(3)
    tokens = tokens_of(tokenizer, "cpu", 128)
    texts = topics(150).texts
    found = logits(model, tokens, texts)
    assert found.shape == (150, 3) and found.dtype == np.float32
    with torch.inference_mode():
        alone = np.concatenate([model(**tokens([text])).logits.numpy() for text in texts[:20]])
    np.testing.assert_allclose(found[:20], alone, atol=1e-5)


def test_every_training_set_gets_the_same_number_of_steps(tuned):
    for rows in (5, 8, 60):
        batches = list(tuned(steps=12)._batches(rows))
        assert len(batches) == 12 and all(len(batch) == 8 for batch in batches)
        counts = np.bincount(torch.cat(batches).numpy(), minlength=rows)
        assert counts.max() - counts.min() <= 1  # a shuffle of all rows, then another


def test_steps_and_rate_are_chosen_on_the_real_rows(tuned, monkeypatch):
    from smotext_ray.evaluation.utility import fine_tuning

    monkeypatch.setattr(fine_tuning, "SETTINGS", ((0, 5e-3), (60, 5e-3)))
    real = of_real(topics(36))
    chosen = tuned().settled(real, 0)
    assert (chosen.steps, chosen.learning_rate) == (60, 5e-3)


def test_the_share_of_a_class_is_taken_from_its_logit(tuned):
    train = rows_of(["corn1 corn2"] * 24, ["a"] * 20 + ["b"] * 4)
    assert set(tuned(steps=24)(of_real(train), train, 0)) == {"a"}
    uncorrected = tuned(steps=24, learning_rate=0.0)
    corrected = tuned(steps=24, learning_rate=0.0, correct_priors=True)
    # Untrained logits are nearly equal, so the rarer class wins once its share is taken away.
    assert set(corrected(of_real(train), train, 0)) == {"b"}
    assert len(set(uncorrected(of_real(train), train, 0))) == 1


def test_pairs_pull_few_rows_of_a_class_together(tuned):
    train, test = topics(12), topics(60, seed=1)
    classifier = Contrastive(tuned().model, steps=60, learning_rate=2e-3, device="cpu")
    before = torch.random.get_rng_state()
    found = score(of_real(train), test, classifier, seed=0)
    assert found.accuracy > 0.9
    assert found == score(of_real(train), test, classifier, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_pairs_are_half_alike_and_of_all_classes_equally():
    labels = ["a"] * 40 + ["b"] * 2 + ["c"] * 8
    pairs = Contrastive("", steps=100)._pairs(labels, np.random.default_rng(0))
    left, right, alike = map(np.concatenate, zip(*pairs, strict=True))
    of = np.array(labels)
    assert ((of[left] == of[right]) == alike).all() and alike.mean() == 0.5
    counts = np.unique(of[left], return_counts=True)[1]
    assert counts.min() > 0.8 * counts.max()


def test_the_baselines_take_as_many_steps(tuned):
    others = baselines("bert", tuned(steps=7))
    assert others["prior_corrected"] == tuned(steps=7, correct_priors=True)
    assert others["contrastive"].steps == 7
    assert baselines_of_both("bert", tuned(steps=7)) == {CONTRASTIVE_OF_BOTH: others["contrastive"]}
