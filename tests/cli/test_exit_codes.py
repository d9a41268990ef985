"""`smotext augment`: its exit code and closing table, with a gate that rejects all."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from fake_run import HERE, fakes_told

from smotext_ray.cli.main import main

ROWS = {"crude": 20, "grain": 10}


def test_a_class_that_falls_short_is_exit_code_3(tmp_path, capsys, own_log):
    labels = [label for label, rows in ROWS.items() for _ in range(rows)]
    texts = [f"text {i} on {label}" for i, label in enumerate(labels)]
    pq.write_table(pa.table({"text": texts, "topic": labels}), tmp_path / "corpus.parquet")
    run = tmp_path / "run"
    arguments = [
        *("augment", "--input", str(tmp_path / "corpus.parquet"), "--output", str(run)),
        *("--label-column", "topic", "--sampling-strategy", '{"grain": 22}'),
        *("--max-rounds", "1", "gate.min_cosine=0.999"),
    ]
    with fakes_told(tmp_path / "stage"):
        code = main(arguments, **HERE)
    said = capsys.readouterr()
    assert code == 3, said.err
    assert "Class 'grain' is 12 short of its target" in said.out
    assert "low_similarity" in said.out
    assert pq.read_metadata(run / "augmented.parquet").num_rows == sum(ROWS.values())
