"""A changed input is seen between two readings, however it is read."""

from __future__ import annotations

import pyarrow as pa
import pytest

from smotext_ray.corpus.digest import RowDigest

TEXTS = ["one", "two", "three", "four"]
LABELS = ["a", "b", "a", "b"]


def digest(texts=TEXTS, labels=LABELS, blocks=1, as_type=list) -> str:
    found = RowDigest()
    each = len(texts) // blocks
    for first in range(0, len(texts), each):
        found.add(first, pa.array(texts[first:][:each]), pa.array(labels[first:][:each]))
    return found.of_labels(as_type)


def test_blocks_do_not_matter():
    assert digest() == digest(blocks=2) == digest(blocks=4) != digest(TEXTS[:2], LABELS[:2])


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["one", "two", "three", "five"], LABELS),
        (["three", "two", "one", "four"], LABELS),
        (TEXTS, ["b", "a", "a", "b"]),
        (TEXTS, ["a", "b", "a", "c"]),
    ],
)
def test_a_change_of_texts_order_or_labels_is_seen(texts, labels):
    assert digest(texts, labels) != digest()


def test_labels_of_csv_count_with_their_type():
    def typed(labels):
        return [label.lower() == "true" for label in labels]

    read_first = digest(labels=["true", "True", "false", "true"], as_type=typed)
    assert read_first == digest(labels=[True, True, False, True])
    assert read_first != digest(labels=[True, True, True, False])
