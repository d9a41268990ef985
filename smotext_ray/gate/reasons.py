"""The reasons for rejecting a text, and their descriptions."""

from __future__ import annotations

REASON_OF_CLEANING = {"none": "", "enn": "other_neighbors", "tomek": "tomek_link"}
REPEATED = "repeated"  # an accepted text that duplicates another sample of its class
REJECTED_IN_WORDS = {
    "empty": "no words",
    "truncated": "truncated at decoder.max_tokens",
    "repetitive": "repeats itself",
    "copy_of_corpus": "equal to a text of the corpus",
    "copy_of_parent": "copies a parent",
    "low_similarity": "too far from its point",
    "wrong_class": "closer to another class",
    "other_neighbors": "a nearest text is of another class",
    "tomek_link": "it and a text of another class are each other's nearest",
    "repeated": "another sample has the same text",
    "error": "decoding failed",
}
