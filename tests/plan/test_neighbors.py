"""Neighbors are exact, never the text itself, and the same for any batch and thread count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from smotext_ray.plan import faiss_search, neighbors
from smotext_ray.plan.neighbors import nearest_neighbors, same_class_neighbors


def rows_of(seed: int, n: int, d: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("n", [7, 300])
def test_equal_to_scikit_learn(metric, n):
    base, queries = rows_of(0, n, 16), rows_of(1, 40, 16)
    distances, rows = nearest_neighbors(queries, base, 6, metric)
    reference = NearestNeighbors(n_neighbors=6, metric=metric, algorithm="brute")
    expected_distances, expected_rows = reference.fit(base.astype(float)).kneighbors(queries)
    assert distances.dtype == np.float32
    assert rows.dtype == np.int64
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(distances, expected_distances, atol=1e-6)


def test_lengths_matter_to_euclidean_only():
    base = np.float32([[10, 0], [0.9, 0.5]])
    query = np.float32([[1, 0]])
    assert nearest_neighbors(query, base, 1, "cosine")[1] == 0
    assert nearest_neighbors(query, base, 1, "euclidean")[1] == 1


def test_ties_take_the_lowest_rows_even_past_the_candidates():
    # 400 equal rows: far more than the candidates asked of FAISS, which may name any of them.
    base = np.concatenate([rows_of(0, 50, 8), np.repeat(rows_of(1, 1, 8), 400, axis=0)])
    for metric in ("cosine", "euclidean"):
        distances, rows = nearest_neighbors(base[-1:], base, 5, metric)
        assert rows.tolist() == [[50, 51, 52, 53, 54]]
        assert distances.max() < 1e-6


def test_differences_below_float32_products_are_seen():
    # Squared distances of 1e-6 to 1.6e-5 next to squared lengths of 1e6: FAISS's BLAS path
    # cannot tell these rows apart, so its own order is noise.
    d = 16
    base = np.full((60, d), 250, dtype=np.float32)
    steps = np.random.default_rng(0).permutation(60)
    base[:, 0] += (steps * 2.0**-14).astype(np.float32)
    queries = np.full((30, d), 250, dtype=np.float32)
    _, rows = nearest_neighbors(queries, base, 5, "euclidean")
    assert (steps[rows] == np.arange(5)).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_batches_and_threads_change_nothing(metric):
    import faiss

    # Near ties in plenty: a few directions with noise of the size of float32 rounding.
    rng = np.random.default_rng(0)
    base = (rows_of(0, 6, 48)[rng.integers(0, 6, 500)] + 1e-7 * rows_of(1, 500, 48)).astype("f4")
    queries = base[:64]
    whole = nearest_neighbors(queries, base, 5, metric)
    threads = faiss.omp_get_max_threads()
    try:
        for count in (1, 2):
            faiss.omp_set_num_threads(count)
            for size in (1, 3, 19, 20, 64):
                parts = [
                    nearest_neighbors(queries[start : start + size], base, 5, metric)
                    for start in range(0, 64, size)
                ]
                for place, expected in enumerate(whole):
                    got = np.concatenate([part[place] for part in parts])
                    assert got.tobytes() == expected.tobytes()
    finally:
        faiss.omp_set_num_threads(threads)


def test_blocks_of_the_exact_distances_change_nothing(monkeypatch):
    base, queries = rows_of(0, 90, 12), rows_of(1, 30, 12)
    whole = nearest_neighbors(queries, base, 4, "cosine")
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 8 * 12 * 7)
    for got, expected in zip(nearest_neighbors(queries, base, 4, "cosine"), whole, strict=True):
        assert got.tobytes() == expected.tobytes()


def test_zero_rows_and_empty_answers():
    base = np.float32([[0, 0], [1, 0], [-1, 0]])
    distances, rows = nearest_neighbors(base[1:2], base, 3, "cosine")
    assert rows.tolist() == [[1, 0, 2]]
    assert distances.tolist() == [[0, 1, 2]]
    assert nearest_neighbors(base[:0], base, 2, "cosine")[1].shape == (0, 2)
    assert nearest_neighbors(base, base, 0, "cosine")[1].shape == (3, 0)


@pytest.mark.parametrize(
    ("queries", "k", "metric", "words"),
    [
        (np.zeros((1, 3)), 1, "cosine", "width"),
        (np.zeros((1, 2)), 4, "cosine", "between 0 and the 3 rows"),
        (np.zeros((1, 2)), 1, "dot", "metric"),
        (np.full((1, 2), np.nan), 1, "cosine", "NaN"),
    ],
)
def test_refusals(queries, k, metric, words):
    with pytest.raises(ValueError, match=words):
        nearest_neighbors(queries, np.ones((3, 2), dtype=np.float32), k, metric)


def test_gpu_is_used_up_to_its_largest_k(monkeypatch):
    import faiss

    calls, limits_of_memory = [], []

    class Resources:
        setTempMemory = limits_of_memory.append

    def knn_gpu(resources, queries, base, k, metric, **limits):
        assert isinstance(resources, Resources)
        calls.append((len(base), k))
        return faiss.knn(queries, base, k, metric=metric)

    monkeypatch.setattr(faiss, "StandardGpuResources", Resources, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu, raising=False)
    monkeypatch.setattr(faiss_search, "GPU_MAX_K", 40)
    base = rows_of(0, 100, 4)
    faiss_search._gpu_resources.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(neighbors, "PART_BYTES", 4 * 4 * 30)  # 30 rows, and only on a CPU
            on_gpu = nearest_neighbors(base[:3], base, 5, "cosine")
        assert calls == [(100, 5 + neighbors.EXTRA_CANDIDATES)]  # the base in one part
        assert limits_of_memory == [64 * 2**20]
        nearest_neighbors(base[:3], base, 50, "cosine")
        assert len(calls) == 1
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
        faiss_search._gpu_resources.cache_clear()
        on_cpu = nearest_neighbors(base[:3], base, 5, "cosine")
        assert len(calls) == 1
        assert on_gpu[1].tobytes() == on_cpu[1].tobytes()
    finally:
        faiss_search._gpu_resources.cache_clear()


def test_rounding_in_faiss_cannot_hide_a_neighbor(monkeypatch):
    # Cosine distances of 0, 2e-8, 4e-8 ...: float32 cannot tell them apart. This FAISS errs
    # by 1e-6, as it may, and so puts the five true neighbors behind fifty other rows.
    place = np.random.default_rng(0).permutation(100)
    angles = np.sqrt(4e-8 * place)
    base = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    query = np.float32([[1, 0]])

    def erring(queries, base, k, metric):
        scores = (2e-8 * place + 1e-6 * (place < 5))[None, :]
        rows = np.argsort(scores, axis=1)[:, :k]
        assert k > 21 or not (place[rows] < 5).any()
        return np.take_along_axis(scores, rows, axis=1), rows

    monkeypatch.setattr(neighbors, "faiss_search", erring)
    _, rows = nearest_neighbors(query, base, 5, "cosine")
    assert place[rows[0]].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_base_in_parts_gives_the_same(metric, monkeypatch):
    rng = np.random.default_rng(0)
    base = rng.integers(-2, 3, (100, 3)).astype(np.float32)  # ties in plenty
    queries = rng.normal(size=(20, 3)).astype(np.float32)
    whole = nearest_neighbors(queries, base, 9, metric)
    for rows in (1, 7, 99):
        monkeypatch.setattr(neighbors, "PART_BYTES", rows * 3 * 4)
        parts = nearest_neighbors(queries, base, 9, metric)
        assert parts[0].tobytes() == whole[0].tobytes()
        assert parts[1].tolist() == whole[1].tolist()
    base[55, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        nearest_neighbors(queries, base, 9, metric)


def test_a_text_is_never_its_own_neighbor():
    texts = ["a", "b", " a ", "c", "a\n"]
    embeddings = np.float32([[0, 0], [1, 0], [0, 0], [5, 0], [0, 0]])
    ids = [30, 20, 10, 40, 50]
    near = same_class_neighbors(np.arange(5), embeddings, texts, ids, 5, "euclidean")
    # Row 2 stands for the three a's: it has their smallest id.
    assert near.tolist() == [[1, 3], [2, 3], [1, 3], [1, 2], [1, 3]]


def test_own_row_is_dropped_by_text_where_embeddings_are_equal():
    # All at distance 0: the query's own row is not in column 0, nor among k + 1 at all.
    embeddings = np.ones((40, 3), dtype=np.float32)
    texts = [f"text {row}" for row in range(40)]
    near = same_class_neighbors(np.arange(40), embeddings, texts, list(range(40)), 2, "cosine")
    assert near[0].tolist() == [1, 2]
    assert near[1].tolist() == [0, 2]
    assert near[39].tolist() == [0, 1]


def test_one_text_has_no_neighbors():
    embeddings = np.ones((3, 2), dtype=np.float32)
    near = same_class_neighbors(np.arange(3), embeddings, ["a", "a ", "a"], [1, 2, 3], 5, "cosine")
    assert near.shape == (3, 0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 8))
def test_row_order_changes_nothing(seed, n, k):
    rng = np.random.default_rng(seed)
    texts = np.array([f"text {number}" for number in rng.integers(0, max(2, n // 2), n)])
    ids = np.array([f"id-{number:03}" for number in rng.permutation(n)])
    embeddings = rng.integers(-1, 2, (n, 3)).astype(np.float32)  # ties and zeros in plenty
    queries = rng.integers(0, n, 10)
    near = same_class_neighbors(queries, embeddings, texts, ids, k, "cosine")
    assert near.shape == (10, min(k, len(set(texts)) - 1))
    assert (texts[near] != texts[queries][:, None]).all()

    order = rng.permutation(n)
    moved = np.argsort(order)[queries]
    again = same_class_neighbors(moved, embeddings[order], texts[order], ids[order], k, "cosine")
    assert ids[order][again].tolist() == ids[near].tolist()
