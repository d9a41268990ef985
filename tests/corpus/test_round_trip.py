"""What goes in comes out: values, types, order of categories and metadata, for any schema."""

import csv
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from generated_tables import EDGES, WORDS, fresh, round_trip, tables
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.plain import plain, plain_type, restored
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.errors import UserError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("round-trip")


def unit_metadata(schema):
    return [(field.metadata or {}).get(b"unit") for field in schema]


@given(table=tables(), files=st.integers(1, 3))
@settings(max_examples=100)
def test_parquet_comes_back(home, table, files):
    source = fresh(home)
    for i in range(files):
        pq.write_table(table, source / f"{i}.parquet")
    before = pa.concat_tables([pq.read_table(source / "0.parquet")] * files)
    after = round_trip(InputConfig(path=str(source)), home)
    assert after.schema.equals(before.schema)
    assert after.schema.metadata == before.schema.metadata
    assert unit_metadata(after.schema) == unit_metadata(before.schema)
    # Not equals, which takes two dictionaries with the same values as different.
    for name in before.column_names:
        assert after[name].to_pylist() == before[name].to_pylist()
        if pa.types.is_dictionary(before[name].type):
            for chunk in after[name].chunks:
                assert chunk.dictionary.equals(before[name].chunk(0).dictionary)


@given(table=tables())
@settings(max_examples=50)
def test_plain_arrays_are_restored(table):
    for column in table.columns:
        array = column.chunk(0)
        for part in (array, array.slice(1), array.slice(0, 1), array.slice(len(array))):
            flat = plain(part)
            flat.validate(full=True)
            assert flat.type == plain_type(part.type)
            again = restored(flat, part.type)
            again.validate(full=True)
            assert again.type == part.type and again.to_pylist() == part.to_pylist()


CELLS = st.one_of(WORDS, st.integers(-(2**63), 2**64).map(str), st.floats().map(str), WORDS)


@given(
    columns=st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=3),
    files=st.integers(1, 2),
)
@settings(max_examples=100)
def test_csv_cells_print_as_they_were_written(home, columns, files):
    source = fresh(home)
    names = ["text", "label", *(f"x{i}" for i in range(len(columns)))]
    rows = list(zip(["one", "two", "three", "four"], ["a", "b"] * 2, *columns, strict=True))
    for i in range(files):
        with open(source / f"{i}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([names, *rows])
    after = round_trip(InputConfig(path=str(source)), home)
    printed = [
        "" if value is None else str(value) for row in after.to_pylist() for value in row.values()
    ]
    assert printed == [cell for row in rows * files for cell in row]


JSON = st.recursive(
    st.none() | st.booleans() | st.sampled_from(EDGES) | WORDS | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)


@given(column=st.lists(JSON, min_size=4, max_size=4))
@settings(max_examples=100)
def test_json_comes_back_or_is_refused_by_the_survey(home, column):
    source = fresh(home) / "c.jsonl"
    rows = [{"text": f"text {i}", "label": i % 2, "x": x} for i, x in enumerate(column)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        survey_corpus(InputConfig(path=str(source)))
    except UserError as error:
        assert "'x'" in str(error)
        return
    after = round_trip(InputConfig(path=str(source)), home)
    assert same(after["x"].to_pylist(), column)


def same(found, given):
    """Equal, except that a key which another row has is null here."""
    if isinstance(given, dict):
        return set(given) <= set(found) and all(same(v, given.get(k)) for k, v in found.items())
    if isinstance(given, list):
        return len(found) == len(given) and all(map(same, found, given))
    return found == given


def test_decimals_are_not_rounded_by_a_file_of_floats(tmp_path):
    given_ = {"text": ["one", "two"], "label": ["a", "b"]}
    exact = [decimal.Decimal("12345678901234567890.12"), None]
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({**given_, "x": pa.array(exact)}), tmp_path / "in" / "a.parquet")
    pq.write_table(pa.table({**given_, "x": [0.5, 1.5]}), tmp_path / "in" / "b.parquet")
    with pytest.raises(UserError, match="'x'"):
        survey_corpus(InputConfig(path=str(tmp_path / "in")))
