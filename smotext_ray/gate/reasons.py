"""The reasons for rejecting a text, and their descriptions."""

from __future__ import annotations

from typing import Literal

from smotext_ray.config.choices import CleaningRule, SampleStatus

Reason = Literal[  # of the gate, in the order of its checks
    "empty",
    "truncated",
    "repetitive",
    "copy_of_corpus",
    "copy_of_parent",
    "low_similarity",
    "wrong_class",
    "other_neighbors",
    "tomek_link",
]
REASON_OF_CLEANING: dict[CleaningRule, Reason] = {
    "enn": "other_neighbors",
    "tomek": "tomek_link",
}
REPEATED = "repeated"  # an accepted text that duplicates another sample of its class
ERROR: SampleStatus = "error"
REJECTED_IN_WORDS: dict[str, str] = {
    "empty": "no words",
    "truncated": "truncated at decoder.max_tokens",
    "repetitive": "repeats itself",
    "copy_of_corpus": "equal to a text of the corpus",
    "copy_of_parent": "copies a parent",
    "low_similarity": "too far from its point",
    "wrong_class": "closer to another class",
    "other_neighbors": "a nearest text is of another class",
    "tomek_link": "nearest to a text of another class, and that to it",
    REPEATED: "another sample has the same text",
    ERROR: "decoding failed",
}


def rejected_in_words(is_multilabel: bool) -> dict[str, str]:
    """The reasons in words, for rows with one class or several labels each."""
    lost = {"wrong_class": "closer to texts without its label"}
    return REJECTED_IN_WORDS | (lost if is_multilabel else {})
