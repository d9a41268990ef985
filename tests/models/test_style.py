"""What a text looks like: codes of its length, case and punctuation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.models.style import FORMS, LENGTHS, SIZE, form_of, length_code, style_of


@given(st.floats(0.5, 10_000))
def test_a_length_lies_between_its_two_reference_lengths(length):
    (weights,) = length_code([length])
    assert weights.sum() == pytest.approx(1, abs=1e-6) and (weights >= 0).all()
    assert np.ptp(np.flatnonzero(weights)) <= 1
    clipped = np.clip(length, LENGTHS[0], LENGTHS[-1])
    assert np.exp2(weights @ np.log2(LENGTHS)) == pytest.approx(clipped, rel=1e-5)


def test_an_unknown_length_has_no_code():
    assert not length_code([0.0, 0]).any() and length_code([1e-3]).any()
    assert length_code([]).shape == (0, len(LENGTHS))


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("net profit rose", {"lower case", "no punctuation"}),
        ("net profit rose.", {"lower case", "punctuation"}),
        ("Net profit rose", {"mixed case", "no punctuation"}),
        ("Net profit -- it rose", {"mixed case", "punctuation"}),
        ("NET PROFIT ROSE!", {"upper case", "punctuation"}),
        ("i can't find up-to-date rates", {"lower case", "no punctuation"}),
        ("12 34", set()),
        ("", set()),
        (None, set()),
        ("利润上升", {"no punctuation"}),
        ("利润上升。", {"punctuation"}),
    ],
)
def test_forms(text, forms):
    (found,) = form_of([text])
    assert {form for form, has in zip(FORMS, found, strict=True) if has} == forms


@given(st.text())
def test_a_text_with_letters_has_at_most_one_case_and_punctuation_or_none(text):
    (found,) = form_of([text])
    has_letters = any(map(str.isalpha, text))
    assert found[3:].sum() == has_letters
    assert found[:3].sum() == (has_letters and text.lower() != text.upper())


def test_a_style_is_both():
    style = style_of(["Grain.", "corn"], [16, 0])
    assert style.shape == (2, SIZE) and style.dtype == np.float32
    np.testing.assert_array_equal(style[:, : len(LENGTHS)], length_code([16, 0]))
    np.testing.assert_array_equal(style[:, len(LENGTHS) :], form_of(["Grain.", "corn"]))
