"""When two texts of the corpus are one, and when a synthetic text is a copy."""

from __future__ import annotations

import pytest

from smotext_ray.utils.text import alike, distinct_part, fingerprint, is_blank, words


@pytest.mark.parametrize(
    ("one", "other", "is_one_text", "is_copy"),
    [
        ("Wheat rose.", "Wheat rose.", True, True),
        ("Wheat rose.", "  Wheat rose.\n", True, True),
        ("Wheat rose.", "wheat ROSE.", False, True),
        ("Wheat rose.", "Wheat\t rose.", False, True),
        ("Straße", "STRASSE", False, True),
        ("Wheat rose.", "Wheat rose", False, False),
    ],
)
def test_the_same_text(one, other, is_one_text, is_copy):
    assert (distinct_part(one) == distinct_part(other)) is is_one_text
    assert (fingerprint(one) == fingerprint(other)) is is_copy


def test_a_fingerprint_fits_64_bits_and_never_changes():
    assert fingerprint("Wheat  rose.") == -5832020676279705953  # runs keep them on disk
    assert words("It's RED, red.") == ["it", "s", "red", "red"]


@pytest.mark.parametrize("text", ["", " \t", "\u00a0", "\u200b", "\ufeff \u2060\n", "\x00"])
def test_what_nobody_sees_is_blank(text):
    assert is_blank(text) and not is_blank(f"{text}.{text}")


def test_labels_that_differ_in_what_nobody_sees_are_alike():
    assert alike("spam\u200b") == alike("Spam ") == alike("spam")
