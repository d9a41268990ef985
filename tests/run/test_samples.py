"""Which samples count, and why the others do not."""

from __future__ import annotations

import pytest
from handmade_run import build

from smotext_ray.run.samples import accepted_unique_samples, summarize_round, usable_samples

WANTED = {"grain": 3, "ship": 2}  # sample ids 0 to 2 and 3 to 4; in a second round 5 to 7, 8 to 9


def usable_ids(run, rounds):
    found = [table["sample_id"].to_pylist() for table in accepted_unique_samples(run, rounds)]
    tables = [run.table("samples", f"round-{number}") for number in rounds]
    assert usable_samples(tables)["sample_id"].to_pylist() == found[-1]
    return found


def test_accepted_samples_by_rising_id_a_table_a_round(tmp_path):
    run = build(tmp_path, WANTED, rounds=2, rejected={1: "empty", 8: "truncated"}, errors=[3])
    assert usable_ids(run, [1, 2]) == [[0, 2, 4], [5, 6, 7, 9]]
    assert usable_ids(run, [2]) == [[5, 6, 7, 9]]


def test_a_text_counts_once_in_its_class(tmp_path):
    texts = {2: "Twice", 0: "twice", 3: "twice", 6: " TWICE\n", 9: "new text 4 on ship"}
    run = build(
        tmp_path,
        WANTED,
        rounds=2,
        text_of=lambda i, label: texts.get(i, f"new text {i} on {label}"),
    )
    # 3 has the text of 0 in another class; 6 and 9 have the texts of the round before.
    assert usable_ids(run, [1, 2]) == [[0, 1, 3, 4], [5, 7, 8]]


def test_a_rejected_text_does_not_spend_its_words(tmp_path):
    run = build(tmp_path, WANTED, rejected={0: "truncated"}, text_of=lambda i, label: "the same")
    assert usable_ids(run, [1]) == [[1, 3]]


def test_tally_of_the_last_round(tmp_path):
    same = {1: "the same", 2: "the same", 7: "the same"}
    run = build(
        tmp_path,
        WANTED,
        rounds=2,
        rejected={0: "empty", 5: "truncated", 8: "truncated"},
        errors=[9],
        text_of=lambda i, label: same.get(i, f"new text {i} on {label}"),
    )
    first, second = summarize_round(run, [1]), summarize_round(run, [1, 2])
    assert first.accepted == {"grain": 1, "ship": 2}
    assert first.reasons == {"empty": 1, "repeated": 1}
    assert second.accepted == {"grain": 1}
    assert second.reasons == {"truncated": 2, "repeated": 1, "error": 1}
    assert sorted(second.reasons_by_class) == [
        ("grain", "repeated", 1),
        ("grain", "truncated", 1),
        ("ship", "error", 1),
        ("ship", "truncated", 1),
    ]
    assert second.mean_cosine == pytest.approx(0.506)
    for told in (first, second):
        lost = sum(told.reasons.values())
        assert sum(told.accepted.values()) + lost == 5


def test_a_round_of_which_nothing_is_left(tmp_path):
    run = build(tmp_path, WANTED, rejected=dict.fromkeys(range(5), "low_similarity"))
    told = summarize_round(run, [1])
    assert told.accepted == {} and told.mean_cosine is None
    assert told.reasons == {"low_similarity": 5}
