"""The copy check finds copies, and measures nearness compared with that to a hold-out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_distances

import smotext_ray.evaluation
from smotext_ray.evaluation.leakage.copies import copies, distances

MOTHER = "wheat prices rose sharply in Chicago on Monday after a dry spring"
FATHER = "corn prices fell in Chicago on Monday after rain"
STRANGER = "the ship sank off Crete with a cargo of steel and no lives were lost"
NEW = "barley stocks are low again"


def of(*texts, real=(MOTHER, FATHER, STRANGER)):
    return copies(texts, [(MOTHER, FATHER)] * len(texts), real)


def test_a_new_text_is_no_copy():
    found = of(NEW)
    assert (found.verbatim, found.near_parent, found.near_any) == ((), (), ())
    assert found.longest_run.max == 0


def test_a_verbatim_copy_is_found_but_for_case_and_white_space():
    found = of(NEW, f"  {MOTHER.upper()}\n", STRANGER)
    assert found.verbatim == found.near_any == (1, 2)
    assert found.near_parent == (1,)
    assert found.verbatim_share == 2 / 3
    assert found.longest_run.max == len(MOTHER.split())


def test_a_near_copy_is_found_of_either_parent_and_of_any_text():
    near = [text.rsplit(" ", 1)[0] + "!" for text in (MOTHER, FATHER, STRANGER)]
    found = of(*near)
    assert found.verbatim == ()
    assert found.near_parent == (0, 1)
    assert found.near_any == (0, 1, 2)


def test_half_a_copy_is_no_near_copy_but_has_a_long_run():
    found = of("wheat prices rose sharply in Chicago and that was all there was to it")
    assert found.near_any_share == 0.0
    assert found.longest_run.max == 6


def test_runs_are_compared_with_those_that_parents_share():
    found = of(NEW, MOTHER)
    between = 5  # in Chicago on Monday after
    assert found.longest_run_between_parents.mean == between
    assert copies([NEW], [[MOTHER]], [MOTHER]).longest_run_between_parents is None


@given(st.permutations([NEW, MOTHER, STRANGER, FATHER[:-5]]), st.permutations([MOTHER, FATHER]))
def test_order_has_no_influence_on_shares(texts, real):
    found, expected = of(*texts, real=real), of(NEW, MOTHER, STRANGER, FATHER[:-5], real=real[::-1])
    assert found.verbatim_share == expected.verbatim_share == 0.25
    assert found.near_any_share == expected.near_any_share == 0.5
    assert found.longest_run == expected.longest_run


def test_the_copy_check_needs_texts_and_parents():
    for arguments in [([], [], []), ([NEW], [], []), ([NEW], [()], [])]:
        with pytest.raises(ValueError):
            copies(*arguments)


def test_copies_are_json():
    table = json.loads(json.dumps(of(NEW, MOTHER).as_json(), allow_nan=False))
    assert table["verbatim"] == [1]
    assert table["longest_run"]["count"] == 2


def cloud(n, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@given(st.integers(2, 9), st.integers(1, 9), st.integers(0, 99))
def test_distances_are_those_of_trying_all(n, m, seed):
    training, hold_out, synthetic = cloud(n, 3, seed), cloud(n, 3, seed + 1), cloud(m, 3, seed + 2)
    found = distances(training, hold_out, synthetic)
    near, far = (np.sort(cosine_distances(synthetic, x), axis=1) for x in (training, hold_out))
    assert found.to_training.mean == pytest.approx(near[:, 0].mean(), abs=1e-5)
    assert found.to_hold_out.median == pytest.approx(np.median(far[:, 0]), abs=1e-5)
    assert found.nearer_to_training == pytest.approx((near[:, 0] < far[:, 0]).mean())
    ratio = near[:, 0] / near[:, 1]
    assert found.ratio_in_training.mean == pytest.approx(ratio.mean(), rel=1e-3, abs=1e-3)
    assert found.rows == n


@given(st.integers(0, 99))
def test_training_and_hold_out_are_measured_alike(seed):
    a, b, synthetic = cloud(8, seed=seed), cloud(8, seed=seed + 1), cloud(5, seed=seed + 2)
    one, other = distances(a, b, synthetic), distances(b, a, synthetic)
    assert one.nearer_to_training == pytest.approx(1 - other.nearer_to_training)
    assert one.to_training == other.to_hold_out
    assert one.ratio_in_training == other.ratio_in_hold_out


def test_copies_are_nearer_to_training_and_strangers_are_not():
    training, hold_out = cloud(300, 32), cloud(300, 32, seed=1)
    copied = distances(training, hold_out, training[:200] + 0.05 * cloud(200, 32, seed=2))
    assert copied.nearer_to_training == 1.0
    assert copied.ratio_in_training.median < 0.05 < 0.5 < copied.ratio_in_hold_out.median
    strange = distances(training, hold_out, cloud(400, 32, seed=3))
    assert strange.nearer_to_training == pytest.approx(0.5, abs=0.08)


def test_ties_count_half_and_copies_of_doubled_records_have_ratio_one():
    records = np.repeat(np.eye(2, dtype=np.float32), 2, axis=0)
    found = distances(records, records, records[:2])
    assert found.nearer_to_training == 0.5
    assert found.to_training.max == 0.0
    assert found.ratio_in_training.mean == 1.0
    json.dumps(found.as_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("training", "hold_out", "synthetic"),
    [
        (cloud(3), cloud(2), cloud(1)),
        (cloud(1), cloud(1), cloud(1)),
        (cloud(2), cloud(2), cloud(1, d=3)),
        (cloud(2), cloud(2), cloud(0)),
    ],
)
def test_what_cannot_be_compared_is_refused(training, hold_out, synthetic):
    with pytest.raises(ValueError):
        distances(training, hold_out, synthetic)


def test_no_module_of_these_calls_anything_private():
    of_leakage = ("copies", "similarity", "membership", "canaries")
    for name in ("ngrams", *(f"leakage/{name}" for name in of_leakage)):
        source = Path(smotext_ray.evaluation.__path__[0], f"{name}.py").read_text()
        assert "private" not in source.casefold()
