"""Canaries in a corpus: every format and column, the list next to it, and what is refused."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_run import build

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.errors import UserError
from smotext_ray.evaluation.leakage.planting import LIST, Canaries, plant, read_canaries

ROWS = 300


@pytest.fixture
def corpus(tmp_path):
    """Two classes, 9 to 1, and columns that canaries have nothing for."""
    table = pa.table(
        {
            "page": pa.array(range(ROWS), pa.int16()),
            "body": [f"text {i}" for i in range(ROWS)],
            "spam": [i % 10 == 0 for i in range(ROWS)],
            "tags": [["a"], []] * (ROWS // 2),
        }
    )
    pq.write_table(table, tmp_path / "corpus.parquet")
    return InputConfig(
        path=str(tmp_path / "corpus.parquet"), text_column="body", label_column="spam"
    )


def test_the_corpus_comes_first_and_as_it_was(corpus, tmp_path):
    output = tmp_path / "new" / "with.parquet"
    canaries = plant(corpus, output, 20, seed=0)
    before, after = pq.read_table(corpus.path), pq.read_table(output)
    assert after.schema.types == before.schema.types
    assert after.slice(0, ROWS).equals(before)
    planted = after.slice(ROWS).to_pylist()
    assert [row["body"] for row in planted] == [entry.text for entry in canaries.planted]
    assert [str(row["spam"]) for row in planted] == [entry.label for entry in canaries.planted]
    assert [entry.row for entry in canaries.planted] == list(range(ROWS, ROWS + 20))
    assert all(row["page"] is None and row["tags"] is None for row in planted)
    assert survey_corpus(corpus.model_copy(update={"path": str(output)})).rows == ROWS + 20


def test_the_list_names_the_planted_and_as_many_that_are_not_there(corpus, tmp_path):
    output = tmp_path / "with.parquet"
    canaries = plant(corpus, output, 20, seed=0)
    assert Canaries.model_validate_json((tmp_path / LIST).read_bytes()) == canaries
    texts = set(pq.read_table(output)["body"].to_pylist())
    assert len(canaries.references) == 20
    assert not texts & {entry.text for entry in canaries.references}
    assert {entry.row for entry in canaries.references} == {None}
    secrets = [entry.secret for entry in canaries.planted + canaries.references]
    assert len(set(secrets)) == 40


def test_classes_are_drawn_in_proportion(corpus, tmp_path):
    canaries = plant(corpus, tmp_path / "with.parquet", 1000, seed=1)
    for entries in (canaries.planted, canaries.references):
        assert 70 < Counter(entry.label for entry in entries)["True"] < 130


def test_the_seed_decides(corpus, tmp_path):
    made = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        (tmp_path / name).mkdir()
        made.append(plant(corpus, tmp_path / name / "with.parquet", 5, seed))
    assert made[0] == made[1] != made[2]


def test_csv_labels_keep_their_type(tmp_path):
    file = tmp_path / "corpus.csv"
    file.write_text("text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(20)))
    plant(InputConfig(path=str(file)), tmp_path / "with.parquet", 4, seed=0)
    table = pq.read_table(tmp_path / "with.parquet")
    assert table.schema.field("label").type == pa.int64() and len(table) == 24
    assert set(table["label"].to_pylist()) <= {0, 1}


def test_a_list_is_read_for_a_run_on_its_corpus(tmp_path, corpus):
    canaries = plant(corpus, tmp_path / "with.parquet", 6, seed=0)
    with_them = pq.read_table(tmp_path / "with.parquet").rename_columns(
        ["page", "body", "topic", "tags"]
    )
    run = build(tmp_path / "run", {False: 2}, corpus=with_them)
    assert read_canaries(str(tmp_path / LIST), run) == canaries
    other = build(tmp_path / "other", {"grain": 2})
    with pytest.raises(
        UserError, match=r"6 of the 6 planted canaries .* not in the corpus of the run"
    ):
        read_canaries(str(tmp_path / LIST), other)


GOOD = {"text": "Call 123-456-789.", "secret": "123-456-789", "label": "a", "row": 5}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file"),
        (b"\xff\x00{", "the file"),
        ([], "the file"),
        ({"planted": [GOOD]}, "references"),
        ({"planted": [], "references": [GOOD]}, "planted"),
        ({"planted": [GOOD | {"secret": "7"}], "references": [GOOD]}, "planted.0.secret"),
        ({"planted": [GOOD | {"text": "Call."}], "references": [GOOD]}, "is not in its text"),
        ({"planted": [GOOD | {"row": -1}], "references": [GOOD]}, "planted.0.row"),
        ({"planted": [GOOD | {"more": 1}], "references": [GOOD]}, "planted.0.more"),
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path, content, told):
    file = tmp_path / LIST
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    run = build(tmp_path / "run", {"grain": 2})
    with pytest.raises(UserError, match="not a list written by smotext canaries") as caught:
        read_canaries(str(file), run)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_list_that_is_not_there_is_refused(tmp_path):
    run = build(tmp_path / "run", {"grain": 2})
    with pytest.raises(UserError, match="cannot be read"):
        read_canaries(str(tmp_path / "none.json"), run)


@pytest.mark.parametrize(
    ("name", "number", "seed", "told"),
    [
        ("with.csv", 1, 0, "must end in .parquet"),
        ("corpus.parquet/with.parquet", 1, 0, "cannot be written"),
        ("corpus.parquet", 1, 0, "already exists"),
        ("old/with.parquet", 1, 0, "canaries.json already exists"),
        ("with.parquet", 0, 0, "--number"),
        ("with.parquet", 1, -1, "--seed"),
    ],
)
def test_an_output_is_refused_and_nothing_is_written(corpus, tmp_path, name, number, seed, told):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / LIST).write_text("{}")
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    with pytest.raises(UserError, match=told):
        plant(corpus, tmp_path / name, number, seed)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before
