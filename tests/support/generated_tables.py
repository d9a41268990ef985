"""Tables of any schema that parquet can hold, and their way through a run's files and back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from pyarrow import fs

from smotext_ray.corpus.staging import original_columns, stage_corpus
from smotext_ray.corpus.survey import survey_corpus

EDGES = [0, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]
WORDS = st.sampled_from(
    ["", "a", "1", "01", "3.10", "3.1", "NA", "True", "true", "ä", " x ", "x\ny"]
)


def integers(kind):
    bits = kind.bit_width
    low, high = (0, 2**bits - 1) if "u" in str(kind) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    edges = [value for value in [*EDGES, 2**64 - 1] if low <= value <= high]
    return st.sampled_from(edges) | st.integers(low, high)


SCALARS = {
    **{kind: integers(kind) for kind in (pa.int8(), pa.int64(), pa.uint8(), pa.uint64())},
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): WORDS,
    pa.large_string(): WORDS,
    pa.string_view(): WORDS,
    pa.binary_view(): st.binary(max_size=3),
    pa.binary(2): st.binary(min_size=2, max_size=2),
    pa.decimal128(30, 2): st.decimals(-(10**20), 10**20, places=2),
    pa.decimal256(50, 10): st.decimals(-(10**20), 10**20, places=10),
    pa.timestamp("us", "Europe/Berlin"): st.integers(-(2**50), 2**50),
    pa.timestamp("ns"): st.integers(-(2**62), 2**62),
    pa.duration("ms"): st.integers(-(2**40), 2**40),
    pa.time64("us"): st.integers(0, 86_400 * 10**6 - 1),
    pa.date32(): st.integers(-(10**5), 10**5),
    pa.null(): st.none(),
}


def nested(inner):
    kind, values = inner
    values = st.none() | values
    lists = st.lists(values, max_size=3)
    pairs = st.lists(st.tuples(WORDS, values), max_size=2)
    return st.sampled_from(
        [
            (pa.list_(kind), lists),
            (pa.large_list(kind), lists),
            (pa.list_view(kind), lists),
            (pa.list_(kind, 2), st.lists(values, min_size=2, max_size=2)),
            (pa.map_(pa.string(), kind), pairs),
            (pa.struct([("a", kind), ("b", pa.int64())]), st.fixed_dictionaries({"a": values})),
        ]
    )


# Inside other types, pyarrow writes no views: "Slicing not implemented for StringView".
VIEWS = (pa.string_view(), pa.binary_view())
NESTABLE = [pair for pair in SCALARS.items() if pair[0] not in VIEWS]
KINDS = st.sampled_from(list(SCALARS.items())) | st.recursive(
    st.sampled_from(NESTABLE), lambda k: k.flatmap(nested), max_leaves=3
)


@st.composite
def arrays(draw, rows):
    """A column of any type that parquet can hold, with missing values."""
    special = draw(st.sampled_from(["dictionary", "extension", "plain", "plain", "plain"]))
    if special == "dictionary":
        categories = draw(st.lists(WORDS, min_size=1, max_size=5, unique=True))
        place = st.none() | st.integers(0, len(categories) - 1)
        indices = draw(st.lists(place, min_size=rows, max_size=rows))
        return pa.DictionaryArray.from_arrays(
            pa.array(indices, pa.int32()), categories, ordered=draw(st.booleans())
        )
    if special == "extension":
        kind = draw(st.sampled_from([pa.uuid(), pa.fixed_shape_tensor(pa.int32(), [2])]))
        value = st.binary(min_size=16, max_size=16)
        if kind != pa.uuid():
            value = st.lists(st.integers(-9, 9), min_size=2, max_size=2)
        values = draw(st.lists(st.none() | value, min_size=rows, max_size=rows))
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    kind, value = draw(KINDS)
    values = draw(st.lists(st.none() | value, min_size=rows, max_size=rows))
    if pa.types.is_temporal(kind):
        small = pa.int32() if kind.bit_width == 32 else pa.int64()
        return pa.array(values, small).cast(kind)
    return pa.array(values, kind)


@st.composite
def tables(draw):
    rows = draw(st.integers(2, 6))
    columns = {f"x{i}": draw(arrays(rows)) for i in range(draw(st.integers(1, 3)))}
    labels = draw(st.sampled_from([["a", "b"], [2**53 + 1, 2**53], [True, False], [1.0, 2.0]]))
    columns["label"] = pa.array([labels[i % 2] for i in range(rows)])
    columns["text"] = pa.array([f" text {i}" for i in range(rows)])
    fields = [
        pa.field(name, column.type, metadata={"unit": name}) for name, column in columns.items()
    ]
    return pa.table(list(columns.values()), pa.schema(fields, {"made": "by hand", "pandas": "{}"}))


def round_trip(config, directory):
    """The staged rows of an input in its own columns, written and read once more."""
    survey = survey_corpus(config)
    stage_corpus(config, survey, fs.LocalFileSystem(), f"{directory}/staged", rows_per_file=3)
    parts = [pq.read_table(file) for file in sorted(Path(directory, "staged").iterdir())]
    with pq.ParquetWriter(f"{directory}/out.parquet", survey.schema) as writer:
        for part in parts:
            writer.write_table(original_columns(part, config, survey.schema, survey.categories))
    return pq.read_table(f"{directory}/out.parquet")


def fresh(home):
    """An empty input: the dialect of a file is remembered by its name, size and time."""
    source = Path(tempfile.mkdtemp(dir=home)) / "in"
    source.mkdir()
    return source
