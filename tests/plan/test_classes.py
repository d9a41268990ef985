"""A class is read whole, in one order, from files in any order, on disk where it is large."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_ray.plan import classes as classes_module
from smotext_ray.plan.classes import ClassReader, read_classes, read_texts
from smotext_ray.run.directory import Run
from smotext_ray.tables import fixed_size_list


def corpus(seed: int, n: int, texts: int, labels: int = 3, d: int = 4) -> pa.Table:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(texts, size=n)
    spaces = [" " * int(count) for count in rng.integers(0, 2, n)]
    return pa.table(
        {
            "id": rng.permutation(n) * 3,
            "text": [f"{space}text {t}" for t, space in zip(numbers, spaces, strict=True)],
            "label": rng.integers(labels, size=n),
            "embedding": fixed_size_list(rng.normal(size=(n, d)).astype(np.float32)),
        }
    )


def same(a, b) -> bool:
    return (
        a.ids.equals(b.ids)
        and a.by_id.tolist() == b.by_id.tolist()
        and a.text_of_row.tolist() == b.text_of_row.tolist()
        and a.embeddings.tobytes() == b.embeddings.tobytes()
        and a.file_rows.tolist() == b.file_rows.tolist()
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(30, 60), st.integers(1, 40))
def test_the_layout(seed, n, texts):
    table = corpus(seed, n, texts)
    of = {row["id"]: row for row in table.to_pylist()}
    labels = sorted(set(table["label"].to_pylist()), reverse=True)
    source = ds.dataset(table)
    classes = read_classes(source, labels)
    assert [rows.label for rows in classes] == labels
    for rows in classes:
        ids = rows.ids.to_pylist()
        read = read_texts(source, pa.chunked_array([rows.file_rows])).to_pylist()
        assert sorted(ids) == sorted(i for i, row in of.items() if row["label"] == rows.label)
        assert [ids[row] for row in rows.by_id] == sorted(ids)
        assert read == [of[i]["text"] for i in ids]
        assert rows.embeddings.tolist() == [of[i]["embedding"] for i in ids]
        stripped = [text.strip() for text in read]
        assert len(set(stripped)) == rows.distinct
        assert rows.text_of_row[: rows.distinct].tolist() == list(range(rows.distinct))
        assert [stripped[row] for row in rows.text_of_row] == stripped
        for text in range(rows.distinct):  # the smallest id stands for a text
            assert ids[text] == min(
                i for i, t in zip(ids, stripped, strict=True) if t == stripped[text]
            )
        assert ids[: rows.distinct] == sorted(ids[: rows.distinct])
        assert ids[rows.distinct :] == sorted(ids[rows.distinct :])


def test_files_batches_and_the_disk_change_nothing(tmp_path, monkeypatch):
    table = corpus(0, 500, 300)
    for number in range(5):
        pq.write_table(table.slice(number * 100, 100), tmp_path / f"{number}.parquet")
    whole = read_classes(ds.dataset(table), [1, 2])
    monkeypatch.setattr(classes_module, "BATCH_ROWS", 7)
    monkeypatch.setattr(classes_module, "HELD_BYTES", 100)
    cut = read_classes(ds.dataset(tmp_path), [1, 2])
    assert isinstance(cut[0].embeddings, np.memmap)
    assert not isinstance(whole[0].embeddings, np.memmap)
    assert all(same(a, b) for a, b in zip(cut, whole, strict=True))


def test_embeddings_for_which_the_disk_is_too_small(monkeypatch):
    monkeypatch.setattr(classes_module, "HELD_BYTES", 100)

    def full(descriptor, offset, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        read_classes(ds.dataset(corpus(0, 50, 30)), [1])


def test_without_texts_each_row_is_one():
    table = corpus(0, 50, 3)
    source = ds.dataset(table.drop_columns(["text"]))
    (rows,) = read_classes(source, [1])
    assert rows.distinct == len(rows.ids)
    assert read_texts(source, pa.chunked_array([[5, 1]])).to_pylist() == [None] * 2


def test_a_class_without_rows_and_nulls():
    table = corpus(0, 50, 30)
    with pytest.raises(ValueError, match="no rows of class 9"):
        read_classes(ds.dataset(table), [1, 9])
    values = table["embedding"].to_pylist()
    values[20] = None
    nulls = table.set_column(3, "embedding", pa.array(values, table["embedding"].type))
    with pytest.raises(ValueError, match="1 nulls"):
        read_classes(ds.dataset(nulls), [table["label"][20].as_py()])


def test_a_reader_reads_a_small_corpus_once(run):
    reader = ClassReader(run.table("embeddings"))
    (second,) = reader([2])
    first, again = reader([1, 2])
    assert again is second
    assert [rows.label for rows in (first, second)] == [1, 2]
    (alone,) = read_classes(run.table("embeddings"), [1])
    assert same(first, alone)
    with pytest.raises(ValueError, match="no rows of class 9"):
        reader([9])


def test_a_reader_keeps_the_classes_of_a_large_corpus_that_it_read_last(run, monkeypatch):
    monkeypatch.setattr(classes_module, "SMALL_BYTES", 100)
    reader = ClassReader(run.table("embeddings"))
    first, second = reader([1, 2])
    assert reader([2]) == [second]
    (other,) = reader([0])
    assert other.label == 0
    assert reader([1, 2])[0] is not first


@pytest.fixture
def run(tmp_path):
    run = Run(str(tmp_path))
    pq.write_table(corpus(0, 50, 30), f"{run.make('embeddings')}/part.parquet")
    return run
