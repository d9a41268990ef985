"""Rows with several labels on the command line."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tagged_corpus import tagged_table, write_tagged

ORDER = ("earn", "grain", "ship", "wheat")


@pytest.fixture
def columns(tmp_path):
    """The tagged corpus with a column of 0 and 1 per label."""
    table = tagged_table()
    sets = table["label"].to_pylist()
    table = table.drop_columns(["label"])
    for name in ORDER:
        table = table.append_column(name, pa.array([int(name in each) for each in sets]))
    pq.write_table(table, tmp_path / "columns.parquet")
    return tmp_path / "columns.parquet"


def test_an_estimate_for_columns_of_0_and_1(printed, columns, tmp_path):
    given = ["--input", columns, "--output", tmp_path / "run", "--dry-run"]
    code, out = printed("augment", *given, "plan.label_sets=union", "--label-columns", *ORDER)
    assert code == 0 and "Labels" in out and "at most 8 points" in out
    assert not (tmp_path / "run").exists()


def test_an_estimate_for_lists(printed, tmp_path):
    corpus = write_tagged(tmp_path / "c.parquet")
    strategy = '{"wheat": 9, "grain": 8}'
    code, out = printed("augment", "--input", corpus, "--dry-run", "--sampling-strategy", strategy)
    assert code == 0 and "at most 7 points" in out and "60 of 60 texts" in out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--label-columns", "earn", "corn"], "has no column 'corn'"),
        (["--label-columns", "earn"], "name at least two columns, each once"),
        (["--label-columns", "earn", "n"], "has values other than 0 and 1"),
        (["plan.label_sets=most", "--label-columns", *ORDER], "plan.label_sets is invalid"),
        (["gate.labels=keep", "--label-columns", *ORDER], "gate.labels is invalid"),
        (["--sampling-strategy", '{"corn": 9}', "--label-columns", *ORDER], "class 'corn'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(refused, columns, tmp_path, more, said):
    message = refused("augment", "--input", columns, "--output", tmp_path / "run", *more)
    assert said in message
