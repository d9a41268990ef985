"""The gate names the first check a text fails, and keeps the nearest text that fails none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import shrunk_covariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from smotext_ray.config.schema import GateConfig
from smotext_ray.gate.reference import ClassReference, class_reference
from smotext_ray.gate.rules import judge, overlap, repetition, why_rejected
from smotext_ray.utils.text import fingerprint, words

CORPUS = ["Wheat prices rose in Chicago today", "the ship sank"]
PARENTS = ["corn exports fell by a tenth last year", "barley stocks are low again this spring"]
REFERENCE = ClassReference(
    means=np.zeros((2, 3), np.float32),
    whitener=np.eye(3, dtype=np.float32),
    fingerprints=np.unique([fingerprint(text) for text in CORPUS]),
)
GOOD = "maize shipments were down ten per cent"

# A text that fails this check alone, in the order in which the checks are made.
FAILURES = {
    "empty": {"text": " .,! "},
    "truncated": {"finish_reason": "length"},
    "repetitive": {"text": "no no no no no no"},
    "copy_of_corpus": {"text": " wheat PRICES rose in\nChicago today"},
    "copy_of_parent": {"text": "Corn exports fell by a tenth, last year!"},
    "low_similarity": {"cosine": 0.34},
    "wrong_class": {"right_class": False},
    "other_neighbors": {"unclean": True},
}


def reason(config: GateConfig | None = None, **changed) -> str:
    given = {"text": GOOD, "finish_reason": "stop", "cosine": 0.9, "right_class": True}
    given["unclean"] = False
    return why_rejected(
        **given | changed,
        parents=PARENTS,
        reference=REFERENCE,
        config=config or GateConfig(cleaning="enn"),
    )


def test_a_good_text_has_no_reason():
    assert reason() == ""


@pytest.mark.parametrize("name", FAILURES)
def test_each_check_has_its_reason(name):
    assert reason(**FAILURES[name]) == name


@pytest.mark.parametrize(
    ("first", "second"),
    [(a, b) for i, a in enumerate(FAILURES) for b in list(FAILURES)[i + 1 :]],
)
def test_of_two_failures_the_earlier_check_is_named(first, second):
    assert reason(**FAILURES[second] | FAILURES[first]) == first


@pytest.mark.parametrize(
    ("name", "off"),
    [
        ("truncated", {"reject_truncated": False}),
        ("repetitive", {"max_repetition": 1.0}),
        ("copy_of_parent", {"max_parent_overlap": 1.0}),
        ("low_similarity", {"min_cosine": -1.0}),
        ("wrong_class", {"same_class": False}),
    ],
)
def test_a_check_can_be_put_out_of_force(name, off):
    assert reason(GateConfig(**off), **FAILURES[name]) == ""


def test_thresholds_themselves_still_pass():
    assert reason(GateConfig(min_cosine=0.5), cosine=0.5) == ""
    assert reason(GateConfig(max_repetition=0.75), text="no no no no no") == ""


def test_a_cosine_that_is_no_number_is_far():
    assert reason(cosine=float("nan")) == "low_similarity"


def test_a_copy_of_either_parent_is_found():
    for parent in PARENTS:
        assert reason(text=f"{parent}!") == "copy_of_parent"


def verdict(texts, cosines, right_class=None, finish_reasons=None, unclean=None):
    return judge(
        texts,
        finish_reasons or ["stop"] * len(texts),
        np.array(cosines, np.float32),
        np.array(right_class or [True] * len(texts)),
        np.array(unclean or [False] * len(texts)),
        PARENTS,
        REFERENCE,
        GateConfig(cleaning="tomek"),
    )


def test_the_nearest_candidate_that_passes_is_kept():
    result = verdict([PARENTS[0], GOOD, "the harvest was poor"], [0.9, 0.6, 0.7])
    assert (result.chosen, result.accepted, result.reason) == (2, True, "")


def test_where_none_passes_the_nearest_of_all_is_kept_with_its_reason():
    result = verdict([GOOD, "the harvest was poor", ""], [0.2, 0.8, 0.1], [True, False, True])
    assert (result.chosen, result.accepted, result.reason) == (1, False, "wrong_class")


def test_a_candidate_that_cleaning_would_remove_is_passed_over():
    texts, cosines = [GOOD, "the harvest was poor"], [0.9, 0.7]
    result = verdict(texts, cosines, unclean=[True, False])
    assert (result.chosen, result.accepted) == (1, True)
    result = verdict(texts, cosines, unclean=[True, True])
    assert (result.chosen, result.accepted, result.reason) == (0, False, "tomek_link")


def test_of_equal_candidates_the_first_is_kept():
    assert verdict([GOOD, GOOD], [0.5, 0.5]).chosen == 0


def test_one_candidate_is_judged_alone():
    assert verdict([GOOD], [0.5]).accepted
    assert verdict([GOOD], [0.5], finish_reasons=["length"]).reason == "truncated"


@given(
    st.lists(
        st.tuples(st.sampled_from([GOOD, "", PARENTS[0]]), st.floats(-1, 1, width=32)), min_size=1
    )
)
def test_the_kept_candidate_is_the_nearest_of_its_kind(candidates):
    texts, cosines = zip(*candidates, strict=True)
    result = verdict(list(texts), list(cosines))
    passing = [c for t, c in candidates if reason(text=t, cosine=c) == ""]
    assert result.accepted == bool(passing)
    assert cosines[result.chosen] == max(passing or cosines)
    assert result.reason == reason(text=texts[result.chosen], cosine=cosines[result.chosen])


TEXT = st.text(st.sampled_from("ab ,.\n"), max_size=40)


@given(TEXT, TEXT)
def test_overlap_is_a_share_and_one_with_itself(text, other):
    assert 0.0 <= overlap(text, other) <= 1.0
    assert overlap(text, text) == 1.0


@given(TEXT, TEXT)
def test_overlap_does_not_see_case_and_punctuation(text, other):
    dressed = text.upper().replace(" ", " , ")
    assert overlap(dressed, other) == overlap(text, other) == overlap(text, other.upper())


@given(st.lists(st.sampled_from("abcdef"), min_size=1), TEXT, TEXT)
def test_a_text_within_another_overlaps_it_whole(text, before, after):
    quoted = " ".join(text)
    assert overlap(quoted, f"{before} {quoted} {after}") == 1.0


def test_overlap_counts_shared_runs_of_four_words():
    assert overlap("a b c d e", "x a b c d y") == 0.5
    assert overlap("a b c x", "a b c d") == 0.0
    assert overlap("a b", "x b a y") == 0.0
    assert overlap("a b c d e f", "a b c") == 0.0


@given(TEXT)
def test_repetition_is_a_share(text):
    assert 0.0 <= repetition(text) < 1.0


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.integers(2, 5))
def test_repetition_rises_from_none_as_a_text_is_said_again(tokens, times):
    once, again = " ".join(tokens), " ".join(tokens * times)
    assert repetition(once) == 0.0
    if tokens:
        pairs = len(tokens) * times - 1
        assert repetition(again) == pytest.approx(1 - min(len(tokens), pairs) / pairs)


@given(st.text())
def test_a_fingerprint_fits_int64_and_does_not_see_white_space(text):
    mark = fingerprint(text)
    assert np.int64(mark) == mark
    assert fingerprint("\t" + " \n ".join(text.split()) + " ") == mark


@given(st.text(st.characters(codec="ascii")))
def test_a_fingerprint_does_not_see_case(text):
    assert fingerprint(text.upper()) == fingerprint(text.lower())


@given(TEXT, TEXT)
def test_other_texts_have_other_fingerprints(text, other):
    assert (fingerprint(text) == fingerprint(other)) == (text.split() == other.split())


def test_the_fingerprint_does_not_change_from_version_to_version():
    assert fingerprint("Wheat  prices") == -389350820220845401


def test_words_are_lower_case_and_without_punctuation():
    assert words("The U.S. Größe, 3-4%!") == ["the", "u", "s", "grösse", "3", "4"]


@given(st.sets(st.text(max_size=5)), st.text(max_size=5))
def test_the_reference_holds_just_the_corpus(corpus, text):
    marks = np.array([fingerprint(t) for t in corpus], np.int64)
    reference = class_reference(np.ones(1), np.ones((1, 2)), np.eye(2), marks)
    assert all(reference.holds(f" {t} ") for t in corpus)
    assert reference.holds(text) == (fingerprint(text) in marks)


def corpus_of(counts, d, seed=0):
    """Embeddings about one mean a class, alike in no direction, and their classes."""
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(len(counts)), counts)
    means = rng.normal(size=(len(counts), d))
    mixing = rng.normal(size=(d, d))
    return means[classes] + rng.normal(size=(len(classes), d)) @ mixing, classes


def reference_of(rows, classes) -> ClassReference:
    counts = np.bincount(classes)
    sums = np.stack([rows[classes == c].sum(0) for c in range(len(counts))])
    return class_reference(counts, sums, rows.T @ rows, np.empty(0, np.int64))


def shrinkage(rows) -> float:
    return rows.shape[1] / (rows.shape[1] + len(rows))


def test_the_nearest_class_is_that_of_the_pooled_covariance_by_hand():
    rows, classes = corpus_of([60, 25, 9], d=8)
    means = np.stack([rows[classes == c].mean(0) for c in range(3)])
    centred = rows - means[classes]
    within = shrunk_covariance(centred.T @ centred / len(rows), shrinkage(rows))
    new = corpus_of([100, 100, 100], d=8, seed=1)[0]
    gap = new[:, None, :] - means[None]
    distance = np.einsum("nci,ij,ncj->nc", gap, np.linalg.inv(within), gap)
    expected = distance.argmin(1)
    assert np.array_equal(reference_of(rows, classes).nearest_class(new), expected)
    plain = (gap**2).sum(2).argmin(1)
    assert (plain != expected).any()  # the covariance matters in this data


def test_with_classes_of_one_size_it_is_scikit_learns_discriminant_analysis():
    rows, classes = corpus_of([40, 40, 40], d=8)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage(rows))
    new = corpus_of([100, 100, 100], d=8, seed=1)[0]
    expected = model.fit(rows, classes).predict(new)
    assert np.array_equal(reference_of(rows, classes).nearest_class(new), expected)


def test_the_size_of_a_class_does_not_draw_texts_to_it():
    rows = np.array([[1.0, 0.0]] * 99 + [[-1.0, 0.0]] + [[1.0, 1.0], [1.0, -1.0]])
    reference = reference_of(rows, np.array([0] * 99 + [1] + [0, 0]))
    assert reference.nearest_class(np.array([[0.1, 0.0], [-0.1, 0.0]])).tolist() == [0, 1]


def test_fewer_rows_than_dimensions_still_tell_classes_apart():
    rows, classes = corpus_of([4, 3], d=32)
    rows[classes == 1] += 20.0
    assert np.array_equal(reference_of(rows, classes).nearest_class(rows), classes)


def test_within_class_covariance_is_white_after_whitening():
    rows, classes = corpus_of([3000, 3000], d=4)
    whitened = rows @ reference_of(rows, classes).whitener
    centred = whitened - np.stack([whitened[classes == c].mean(0) for c in (0, 1)])[classes]
    np.testing.assert_allclose(centred.T @ centred / len(rows), np.eye(4), atol=0.05)
