"""Tables enter a stage with the columns that the stage before writes, or are refused."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_run import build

from smotext_ray import tables
from smotext_ray.errors import UserError
from smotext_ray.run.directory import Run
from smotext_ray.run.reference import build_reference
from smotext_ray.run.samples import summarize_round
from smotext_ray.run.tables import embeddings_table, plan_table, samples_table, weights_table

WANTED = {"grain": 3, "ship": 2}


@pytest.fixture(params=[1, 3])
def run(request, tmp_path) -> Run:
    return build(tmp_path, WANTED, plan={"neighbors_per_point": request.param})


def change(run: Run, file: str, edit) -> None:
    with run.fs.open_input_file(file) as stream:
        table = pq.read_table(stream)
    pq.write_table(edit(table), file, filesystem=run.fs)


def test_the_tables_of_a_run_are_taken(run):
    assert embeddings_table(run).count_rows() == 10
    for open_table, name in ((plan_table, "plan"), (samples_table, "samples")):
        assert open_table(run, name, "round-1").count_rows() == 5


def test_weights_are_taken_with_the_columns_of_their_variant(run):
    kinds = tables.weights_schema(pa.int64(), pa.string())
    for names in (["label", "id", "weight"], ["label", "id", "weight", "cluster"], kinds.names):
        schema = pa.schema([kinds.field(name) for name in names])
        run.clear("weights")
        pq.write_table(schema.empty_table(), f"{run.make('weights', 'expansion-0')}/0.parquet")
        assert weights_table(run, "weights/expansion-0").schema.names == names
    change(run, run.at("weights/expansion-0/0.parquet"), lambda table: table.drop_columns("weight"))
    with pytest.raises(UserError, match="has no column 'weight'"):
        weights_table(run, "weights/expansion-0")


@pytest.mark.parametrize(
    ("name", "column", "enter"),
    [
        ("embeddings", "embedding", lambda run: build_reference(run, ["grain", "ship"])),
        ("plan/round-1", "lam", lambda run: plan_table(run, "plan", "round-1")),
        ("samples/round-1", "status", lambda run: summarize_round(run, [1])),
    ],
)
def test_a_column_that_is_missing_or_of_another_type_is_refused(run, name, column, enter):
    file = run.table(*name.split("/")).files[0]
    with run.fs.open_input_file(file) as stream:
        whole = pq.read_table(stream)
    change(run, file, lambda table: table.drop_columns(column))
    with pytest.raises(UserError, match=rf"{file} of the run .* has no column '{column}'; put"):
        enter(run)
    at = whole.column_names.index(column)
    other = whole.set_column(at, column, pa.array([7] * len(whole), pa.int8()))
    change(run, file, lambda _: other)
    with pytest.raises(UserError, match=f"'{column}' in {file} of the run .* holds int8, not"):
        enter(run)


def test_the_lists_of_columns_are_those_of_the_tables():
    result = ["sample_id", "source_id", "neighbor_id", "lam", "round", "cosine_to_point"]
    assert result == tables.RESULT_LINEAGE
    assert [*result[:4], "seed", *result[4:]] == tables.FRAME_LINEAGE
    lineage = ["sample_id", "label", "source_id", "neighbor_id", "lam", "seed", "round"]
    assert lineage == tables.SAMPLE_LINEAGE
    assert tables.OTHERS == ("other_neighbor_ids", "other_lams", "other_neighbor_texts")
    assert {*result, "synthetic", "sample_weight", *tables.KEPT_OTHERS} == tables.RESERVED


def test_the_result_stands_in_the_order_that_results_have():
    own = pa.schema([("body", pa.string())])
    names = tables.result_schema(own, pa.int64(), 2).names
    assert names == [
        *("body", "synthetic", "sample_id", "source_id", "neighbor_id", "lam"),
        *("other_neighbor_ids", "other_lams", "round", "cosine_to_point", "sample_weight"),
    ]


def test_a_column_of_an_older_run_that_is_called_as_the_weight_stays_the_corpus_own():
    own = pa.schema([("body", pa.string()), ("sample_weight", pa.int64())])
    schema = tables.result_schema(own, pa.int64())
    assert schema.names.count("sample_weight") == 1
    assert schema.field("sample_weight").type == pa.int64()
