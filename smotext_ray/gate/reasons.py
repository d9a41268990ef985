"""Why a text is rejected: the reasons, and their words."""

from __future__ import annotations

REASON_OF_CLEANING = {"none": "", "enn": "other_neighbors", "tomek": "tomek_link"}
REPEATED = "repeated"  # an accepted text that another sample of its class has too
REJECTED_IN_WORDS = {
    "empty": "no words",
    "truncated": "cut off at decoder.max_tokens",
    "repetitive": "repeats itself",
    "copy_of_corpus": "a text of the corpus",
    "copy_of_parent": "copies a parent",
    "low_similarity": "too far from its point",
    "wrong_class": "nearer to another class",
    "other_neighbors": "a nearest text is of another class",
    "tomek_link": "nearest to a text of another class, and that to it",
    "repeated": "another sample has the same text",
    "error": "the decoder failed on it",
}
