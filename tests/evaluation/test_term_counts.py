"""TF-IDF from counts that are kept is scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility import term_counts
from smotext_ray.evaluation.utility.features import tf_idf
from smotext_ray.evaluation.utility.term_counts import TermCounts


def rows_of(seed, number=40):
    rng = np.random.default_rng(seed)
    pool = ["wheat", "Corn", "the", "ship", "sank", "of", "42", "port", "a", "Zürich", "x"]
    texts = [" ".join(rng.choice(pool, rng.integers(2, 9))) + " grain" for _ in range(number)]
    return Rows(texts, np.zeros((number, 2), np.float32), ["a"] * number)


@pytest.mark.parametrize("words", ["pairs", "words", "content words"])
def test_it_is_that_of_scikit_learn_whatever_was_counted_before(words):
    expected = TfidfVectorizer(
        sublinear_tf=True,
        ngram_range=(1, 2 if words == "pairs" else 1),
        stop_words="english" if words == "content words" else None,
    )
    for seed in range(3):
        train, unseen = rows_of(seed), rows_of(seed + 100)
        for found, wanted in zip(
            tf_idf(train, unseen, words),
            (expected.fit_transform(train.texts), expected.transform(unseen.texts)),
            strict=True,
        ):
            wanted.sort_indices()
            assert found.shape == wanted.shape
            np.testing.assert_array_equal(found.indices, wanted.indices)
            np.testing.assert_allclose(found.data, wanted.data, rtol=1e-12)


def test_a_text_is_analyzed_once(monkeypatch):
    analyzed = []

    def analyze(text):
        analyzed.append(text)
        return text.split()

    counts = TermCounts(analyze)
    first = counts(["a b", "b c"], ["c d"])
    again = counts(["a b", "b c"], ["c d"])
    assert analyzed == ["a b", "b c", "c d"]
    assert (first[0] != again[0]).nnz == (first[1] != again[1]).nnz == 0
    assert first[1].toarray().tolist() == [[0, 0, 1]]  # no d among the training texts
    monkeypatch.setattr(term_counts, "MOST_TEXTS", 2)
    counts(["a b"], ["e"])
    assert analyzed[3:] == ["a b", "e"]  # the others were forgotten
