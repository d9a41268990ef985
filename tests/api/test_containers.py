"""What the sampler gives back holds the user's rows unchanged, in any container."""

from contextlib import suppress

import datasets
import numpy as np
import pandas as pd
import pytest
from fake_stages import Encoder
from generated_tables import tables
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_ray import SMOTExT, augment_split
from smotext_ray.api.containers import read_texts
from smotext_ray.api.labels import like, read_labels
from smotext_ray.models.engine import Candidates

TEXTS = [f"text number {i}" for i in range(12)]
LABELS = ["rare"] * 4 + ["common"] * 8


class Decoder:
    def decode(self, points, seeds):
        return [Candidates([f"new text {seed}"], ["stop"], [3]) for seed in seeds]


def sampler(**given_):
    gate = {"min_cosine": -1, "same_class": False}
    return SMOTExT(encoder=Encoder(), decoder=Decoder(), gate=gate, random_state=0, **given_)


INTEGERS = {
    f"{'u' * (not low)}int{bits}": (low * -(2 ** (bits - 1)), 2 ** (bits - low) - 1)
    for bits in (8, 32, 64)
    for low in (0, 1)
}
VALUES = {
    **{name: st.integers(*ends) | st.sampled_from(ends) for name, ends in INTEGERS.items()},
    "float32": st.floats(width=32, allow_nan=False),
    "bool": st.booleans(),
    "Int64": st.integers(-(2**63), 2**63 - 1) | st.none(),
    "boolean": st.booleans() | st.none(),
    "string": st.text(max_size=3),
    "object": st.none() | st.integers() | st.text(max_size=2) | st.lists(st.integers(), max_size=2),
    "category": st.sampled_from("abc"),
    "datetime64[ns, Europe/Berlin]": st.integers(0, 2**60),
    "timedelta64[s]": st.integers(0, 2**30),
    "period[M]": st.integers(0, 1000),
}


@st.composite
def frames(draw):
    rows = draw(st.integers(1, 5))
    names = draw(st.lists(st.sampled_from(["a", "b", 0, ("x", 1)]), max_size=3))  # also twice
    columns = []
    for name in names:
        kind = draw(st.sampled_from(list(VALUES)))
        values = draw(st.lists(VALUES[kind], min_size=rows, max_size=rows))
        if kind.startswith("period"):
            column = pd.Series(pd.PeriodIndex.from_ordinals(values, freq="M"))
        elif kind.startswith("datetime"):
            column = pd.Series(pd.to_datetime(values, utc=True)).astype(kind)
        else:
            column = pd.Series(values, dtype=kind)
        columns.append(column.rename(name) if not isinstance(name, tuple) else column)
    texts = pd.Series([f"text {i}" for i in range(rows)])
    if draw(st.booleans()):
        texts = texts.astype("category")
    frame = pd.concat([*columns, texts], axis=1)
    frame.columns = pd.Index([*names, "text"], dtype=object)
    return frame


@given(frame=frames(), new=st.lists(st.sampled_from(["new", "text 0"]), max_size=3))
@settings(max_examples=100)
def test_rows_of_a_frame_come_back_unchanged(frame, new):
    texts, extend = read_texts(frame, "text")
    assert texts == [f"text {i}" for i in range(len(frame))]
    after = extend(new)
    assert list(after.columns) == list(frame.columns)
    for i in range(frame.shape[1]):
        before, kept = frame.iloc[:, i], after.iloc[: len(frame), i]
        assert same(kept.tolist(), before.tolist())
        numpy_integers = isinstance(before.dtype, np.dtype) and before.dtype.kind in "iub"
        is_grown = isinstance(before.dtype, pd.CategoricalDtype) and i == frame.shape[1] - 1
        if not (numpy_integers and new) and not is_grown:
            assert kept.dtype == before.dtype
        if i < frame.shape[1] - 1:
            assert after.iloc[len(frame) :, i].isna().all()
        else:
            assert after.iloc[len(frame) :, i].tolist() == new


def same(found, given_):
    return all(
        a is b or (pd.api.types.is_scalar(b) and pd.isna(b) and pd.isna(a)) or a == b
        for a, b in zip(found, given_, strict=True)
    )


def is_of_datasets(column):
    """Whether `datasets` has a type for it; it has none for maps, views of lists and extensions."""
    with suppress(ValueError):
        datasets.Dataset(column)
        return True
    return False


@given(table=tables())
@settings(max_examples=100)
def test_rows_of_a_dataset_of_any_schema_come_back(table):
    data = datasets.Dataset(
        table.select([name for name in table.column_names if is_of_datasets(table.select([name]))])
    )
    texts, extend = read_texts(data, "text")
    after = extend(["new"])
    assert texts == table["text"].to_pylist() and after["text"][:] == [*texts, "new"]
    assert after.features == data.features
    for name in set(data.column_names) - {"text"}:
        assert after.data[name].to_pylist() == [*data.data[name].to_pylist(), None]


def test_a_text_column_is_named_by_anything_but_once():
    frame = pd.DataFrame({0: LABELS, 1: TEXTS})
    assert sampler(text_column=1).fit_resample(frame, LABELS)[0].shape == (16, 2)
    frame.columns = ["text", "text"]
    with pytest.raises(ValueError, match="twice"):
        sampler().fit_resample(frame, LABELS)


@pytest.mark.parametrize("kind", ["numpy", "arrow", "pandas", "torch"])
@pytest.mark.parametrize("columns", [None, ["n"]])
def test_the_format_of_a_dataset_comes_back(kind, columns):
    data = datasets.Dataset.from_dict({"text": TEXTS, "n": list(range(12)), "label": LABELS})
    data.set_format(kind, columns=columns, output_all_columns=columns is None)
    after, _ = sampler().fit_resample(data, LABELS)
    assert after.format == data.format
    assert after.with_format(None)[:12] == data.with_format(None)[:12]
    assert augment_split(data, sampler()).format == data.format


def test_a_column_of_a_dataset_is_a_sequence_of_texts():
    data = datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS})
    texts, labels = sampler().fit_resample(data["text"], data["label"])
    assert texts[:12] == TEXTS and len(texts) == len(labels) == 16


@pytest.mark.parametrize(
    "y",
    [
        pd.Series([2**53 + 1] * 4 + [2**53] * 8, dtype="Int64"),
        pd.Series([2**64 - 1] * 4 + [0] * 8, dtype="UInt64"),
        pd.Series([True] * 4 + [False] * 8, dtype="boolean"),
        pd.Series(LABELS, dtype="category"),
        pd.Series(LABELS, dtype="string"),
        pd.Series([2**53 + 1] * 4 + [5] * 8, dtype="int64[pyarrow]"),
        pd.Index(LABELS, name="topic"),
        pd.array([1] * 4 + [0] * 8, dtype="Int8"),
    ],
    ids=lambda y: f"{type(y).__name__}-{y.dtype}",
)
def test_labels_come_back_in_their_type(y):
    _, after = sampler().fit_resample(TEXTS, y)
    assert type(after) is type(y) and after.dtype == y.dtype
    assert list(after[:12]) == list(y)
    assert list(after[12:]) == [y[0]] * 4


def test_nullable_labels_give_the_texts_of_plain_ones():
    plain = [0] * 4 + [1] * 8
    nullable = pd.Series(plain, dtype="Int64")
    texts, _ = sampler().fit_resample(TEXTS, nullable)
    assert texts == sampler().fit_resample(TEXTS, plain)[0]
    assert like(nullable, np.array(read_labels(nullable))).equals(nullable)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_a_missing_label_is_named_by_its_row(missing):
    with pytest.raises(ValueError, match="Row 11 of y has no label"):
        sampler().fit_resample(TEXTS, [*LABELS[:11], missing])
    with pytest.raises(ValueError, match="Row 11 of y has no label"):
        sampler().fit_resample(TEXTS, pd.Series([*LABELS[:11], missing], dtype="category"))


def test_an_empty_label_is_named_by_its_row():
    with pytest.raises(ValueError, match="Row 11 of y has an empty label"):
        sampler().fit_resample(TEXTS, [*LABELS[:11], " "])


def test_labels_in_a_frame_of_nullable_integers_are_not_rounded():
    y = pd.DataFrame({"y": pd.array([2**53 + 1] * 4 + [2**53] * 8, dtype="Int64")})
    _, after = sampler().fit_resample(TEXTS, y)
    assert after.y.value_counts().to_dict() == {2**53 + 1: 8, 2**53: 8}
    assert after.dtypes.equals(y.dtypes)


def test_sparse_integers_are_not_rounded():
    numbers = [2**53 + 1] + [0] * 11
    frame = pd.DataFrame({"text": TEXTS, "n": pd.arrays.SparseArray(numbers)})
    after, _ = sampler().fit_resample(frame, LABELS)
    assert after.n[:12].tolist() == numbers and after.n[12:].isna().all()


def test_half_of_a_surrogate_pair_is_named_by_its_row():
    with pytest.raises(ValueError, match="Row 1 of X has half"):
        sampler().fit_resample(["fine", "a \udce9", *TEXTS[2:]], LABELS)
