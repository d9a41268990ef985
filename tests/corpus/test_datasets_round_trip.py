"""Datasets of the library `datasets`, of any features: the same rows come back, in every way."""

from __future__ import annotations

import datasets
import pytest
from datasets import Array2D, ClassLabel, Features, LargeList, List, Value
from generated_tables import WORDS, fresh, integers, round_trip
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_ray.api.containers import read_texts
from smotext_ray.config.schema import InputConfig

MATRIX = st.lists(st.lists(st.integers(-9, 9), min_size=2, max_size=2), min_size=1, max_size=1)
SCALARS = {  # not uint64, which the library reads as int64 where it is nested
    **{name: integers(Value(name).pa_type) for name in ("int8", "int64", "uint8", "uint32")},
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "string": WORDS,
    "large_string": WORDS,
    "binary": st.binary(max_size=3),
    "decimal128(30, 2)": st.decimals(-(10**20), 10**20, places=2),
    "timestamp[us, tz=Europe/Berlin]": st.datetimes(timezones=st.timezones()),
    "date32": st.dates(),
}
CLASSES = ClassLabel(names=["no", "yes", "1"])


def nested(inner):
    feature, values = inner
    none = st.none()
    values = none | values
    lists = st.lists(values, max_size=3)
    pairs = st.lists(values, min_size=2, max_size=2)
    return st.sampled_from(
        [
            (List(feature), lists),
            (LargeList(feature), lists),
            (List(feature, length=2), pairs),
            (
                {"a": feature, "b": Value("int64")},
                st.fixed_dictionaries({"a": values, "b": st.none()}),
            ),
        ]
    )


FEATURES = st.recursive(
    st.sampled_from(
        [
            *((Value(name), values) for name, values in SCALARS.items()),
            (CLASSES, st.integers(0, 2)),
            (Array2D((1, 2), "int32"), MATRIX),
        ]
    ),
    lambda inner: inner.flatmap(nested),
    max_leaves=3,
)


@st.composite
def made(draw):
    rows = draw(st.integers(2, 6))
    features = {"text": Value("string"), "label": draw(st.sampled_from([CLASSES, Value("int64")]))}
    columns = {
        "text": [f" text {i}" for i in range(rows)],
        "label": [i % 2 for i in range(rows)],
    }
    for number in range(draw(st.integers(1, 3))):
        feature, values = draw(FEATURES)
        features[f"x{number}"] = feature
        columns[f"x{number}"] = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
    return datasets.Dataset.from_dict(columns, features=Features(features))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    datasets.disable_progress_bars()
    yield tmp_path_factory.mktemp("datasets")
    datasets.enable_progress_bars()


@given(data=made(), new=st.lists(WORDS, max_size=3))
@settings(max_examples=25)
def test_rows_of_a_dataset_are_given_back(data, new):
    texts, extend = read_texts(data, "text")
    assert texts == data["text"][:]
    after = extend(new)
    assert after.features == data.features and len(after) == len(data) + len(new)
    assert after[: len(data)] == data[:]
    added = after[len(data) :]
    assert added["text"] == new
    assert all(column == [None] * len(new) for name, column in added.items() if name != "text")


@given(data=made())
@settings(max_examples=25)
def test_a_parquet_file_of_datasets_comes_back(home, data):
    source = fresh(home)
    data.to_parquet(source / "data.parquet")
    written = round_trip(InputConfig(path=str(source)), home)
    assert Features.from_arrow_schema(written.schema) == data.features
    back = datasets.Dataset.from_parquet(
        f"{home}/out.parquet", cache_dir=str(source / "cache"), keep_in_memory=True
    )
    assert back.features == data.features and back[:] == data[:]


def test_missing_lists_of_lists_of_matrices_come_back(home):
    """Of which Arrow's own `flatten` cannot make an empty array."""
    features = {"text": Value("string"), "label": Value("int64")}
    features["x"] = List(List(Array2D((1, 2), "int32")))
    columns = {"text": ["a b", "b c"], "label": [0, 1], "x": [None, None]}
    data = datasets.Dataset.from_dict(columns, features=Features(features))
    source = fresh(home)
    data.to_parquet(source / "data.parquet")
    written = round_trip(InputConfig(path=str(source)), home)
    assert written["x"].to_pylist() == columns["x"]
