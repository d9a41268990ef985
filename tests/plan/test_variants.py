"""Each variant makes imbalanced-learn's points of the same draws, whoever weighs which texts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import ADASYN, SMOTE, SVMSMOTE, BorderlineSMOTE, KMeansSMOTE
from scipy import stats
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import make_classification
from sklearn.svm import SVC

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.pipeline.plan_files import weight_shards
from smotext_ray.plan import points as planning
from smotext_ray.plan import variants
from smotext_ray.plan.classes import read_classes, read_corpus
from smotext_ray.plan.draws import Draws
from smotext_ray.plan.shards import Shard, shards
from smotext_ray.plan.unsharded import unsharded_plan, unsharded_weights
from smotext_ray.plan.variants import MOST_SVM_ROWS, Sources, check_rows, is_in_danger
from smotext_ray.plan.weights import count_sources, source_weights, sources_of, without_sources
from smotext_ray.tables import fixed_size_list, matrix

K, M, CLUSTERS, SEED = 4, 8, 5, 3


def classified():
    x, y = make_classification(
        260, 8, n_informative=5, n_classes=3, weights=[0.65, 0.23], class_sep=1.2, random_state=0
    )
    return x, y


def on_the_sphere():
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1, 2, 3], [100, 50, 30, 20])
    x = rng.normal(size=(200, 12)) + rng.normal(size=(4, 12))[y]
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


def table_of(x, y, texts=None):
    """A corpus in the order of its classes and ids, as imbalanced-learn is to see it."""
    order = np.argsort(y, kind="stable")
    return pa.table(
        {
            "id": np.arange(len(x)),
            "text": [f"text {i}" for i in range(len(x))] if texts is None else texts,
            "label": [f"class {label}" for label in np.asarray(y)[order]],
            "embedding": fixed_size_list(np.asarray(x, np.float32)[order]),
        }
    )


def config_of(variant, metric="euclidean", **plan):
    return RunConfig.model_validate(
        {
            "encoder": {"normalize": False},
            "neighbors": {"k_neighbors": K, "m_neighbors": M, "metric": metric},
            "plan": {"variant": variant, "n_clusters": CLUSTERS, "seed": SEED, **plan},
        }
    )


class Recorded(np.random.RandomState):
    """Draws as a RandomState does, in steps that a float32 holds, and keeps what it drew."""

    def __init__(self):
        super().__init__(0)
        self.drawn = []

    def _kept(self, values):
        self.drawn.append(np.asarray(values))
        return values

    def randint(self, low, high=None, size=None, dtype=int):
        return self._kept(super().randint(low, high, size, dtype))

    def choice(self, a, size=None, replace=True, p=None):
        return self._kept(super().randint(0, a, size))

    def uniform(self, low=0.0, high=1.0, size=None):
        values = super().uniform(low, high, size).astype(np.float32).astype(float)
        return self._kept(values)


SAMPLERS = {
    "smote": SMOTE(k_neighbors=K),
    "borderline": BorderlineSMOTE(k_neighbors=K, m_neighbors=M),
    "adasyn": ADASYN(n_neighbors=K),
    "kmeans": KMeansSMOTE(
        k_neighbors=K,
        kmeans_estimator=MiniBatchKMeans(CLUSTERS, random_state=SEED),
        cluster_balance_threshold="auto",
    ),
    "svm": SVMSMOTE(k_neighbors=K, m_neighbors=M, svm_estimator=SVC(gamma="scale")),
}


def texts_drawn(variant, sources, points, drawn):
    """Text, place of the neighbour and step of imbalanced-learn's points of a class.

    ``drawn`` are its draws, in its order; they are used up.
    """
    weight = sources.weight
    if variant == "adasyn":
        made = np.rint(weight / weight.sum() * points).astype(int)
        return np.repeat(np.arange(len(weight)), made), drawn.pop(0), drawn.pop(0).ravel()
    if variant == "kmeans":
        kinds = [(sources.cluster == c) & (weight > 0) for c in range(CLUSTERS)]
    elif variant == "svm":
        kinds = [(weight > 0) & (sources.step_scale > 0), (weight > 0) & (sources.step_scale < 0)]
    else:
        kinds = [weight > 0]
    texts, columns, steps = [], [], []
    for kind in kinds:
        if not kind.any():
            continue
        both, lam = drawn.pop(0), drawn.pop(0)
        if variant == "kmeans":
            share = weight[kind].sum() / weight.sum()
            assert len(both) == np.ceil(round(points * share, 9)), "the points of a cluster"
        texts.append(np.flatnonzero(kind)[both // K])
        columns.append(both % K)
        steps.append(lam)
    return np.concatenate(texts), np.concatenate(columns), np.concatenate(steps)


@pytest.mark.parametrize("corpus", [classified, on_the_sphere])
@pytest.mark.parametrize("variant", SAMPLERS)
def test_points_are_those_of_imbalanced_learn(variant, corpus, monkeypatch):
    table = table_of(*corpus())
    x, y = matrix(table["embedding"]), np.array(table["label"].to_pylist())
    counts = Counter(y)
    wanted = {label: 60 for label in sorted(counts) if counts[label] < 60}
    state = Recorded()
    sampler = SAMPLERS[variant].set_params(
        sampling_strategy={label: counts[label] + n for label, n in wanted.items()},
        random_state=state,
    )
    if variant == "svm":
        monkeypatch.setattr(state, "beta", lambda a, b: 0.5)
    theirs, names = sampler.fit_resample(x, y)
    theirs, names = theirs[len(x) :], names[len(x) :]

    config, source = config_of(variant), ds.dataset(table)
    weights = None if variant == "smote" else ds.dataset(unsharded_weights(source, wanted, config))
    drawn = list(state.drawn)
    for label in sampler.sampling_strategy_:
        (rows,) = read_classes(source, [label])
        found = None if weights is None else sources_of(weights, rows)
        told = found or variants.Sources(np.ones(rows.distinct))
        texts, columns, steps = texts_drawn(variant, told, wanted[label], drawn)
        upto = np.cumsum(told.weight)
        draws = Draws(
            u_source=(upto[texts] - told.weight[texts] / 2) / upto[-1],
            u_neighbor=(columns + 0.5) / K,
            lam=steps.astype(np.float32),
            decode_seed=np.zeros(len(texts), np.int64),
        )
        with monkeypatch.context() as patch:
            patch.setattr(planning, "draw", lambda *given, draws=draws: draws)
            shard = Shard(1, label, 0, len(texts), 0)
            made = planning.plan_shard(rows, shard, config, sources=found)
        assert len(made) == (names == label).sum() > 20
        np.testing.assert_allclose(matrix(made["point"]), theirs[names == label], atol=1e-5)
    assert not drawn, "draws that made none of our points"


@pytest.mark.parametrize("corpus", [classified, on_the_sphere])
def test_texts_in_danger_and_ratios_are_imbalanced_learns(corpus):
    table = table_of(*corpus())
    x, y = matrix(table["embedding"]), np.array(table["label"].to_pylist())
    source, wanted = ds.dataset(table), dict.fromkeys(sorted(set(y)), 30)
    counts = Counter(y)
    theirs = BorderlineSMOTE(
        k_neighbors=K,
        m_neighbors=M,
        sampling_strategy={label: counts[label] + 30 for label in wanted},
    )
    theirs.fit_resample(x, y)
    danger = unsharded_weights(source, wanted, config_of("borderline"))
    kept = danger["id"].to_numpy()[danger["weight"].to_numpy() > 0]
    assert kept.tolist() == np.concatenate([*theirs.in_danger_indices.values()]).tolist()
    assert 10 < len(kept) < len(x) / 2
    ratios = unsharded_weights(source, wanted, config_of("adasyn"))
    near = np.argsort(np.linalg.norm(x[:, None] - x[None], axis=-1), axis=1)[:, 1 : K + 1]
    np.testing.assert_array_equal(ratios["weight"].to_numpy(), (y[near] != y[:, None]).sum(1) / K)


@pytest.mark.parametrize("corpus", [classified, on_the_sphere])
def test_weights_of_clusters_are_imbalanced_learns(corpus):
    table = table_of(*corpus())
    x, y = matrix(table["embedding"]), np.array(table["label"].to_pylist())
    wanted = {"class 1": 40, "class 2": 80}
    weights = unsharded_weights(ds.dataset(table), wanted, config_of("kmeans"))
    clusters = MiniBatchKMeans(CLUSTERS, random_state=SEED).fit_predict(x)
    seen = 0
    for label, points in wanted.items():
        (rows,) = read_classes(ds.dataset(table), [label])
        found = sources_of(ds.dataset(weights), rows)
        assert found.cluster.tolist() == clusters[y == label].tolist()
        for cluster in range(CLUSTERS):
            own, here = x[(clusters == cluster) & (y == label)], clusters == cluster
            is_kept = len(own) > K and len(own) / here.sum() >= points / 120 / 2
            sparsity = KMeansSMOTE()._find_cluster_sparsity(own) if is_kept else 0
            total = found.weight[found.cluster == cluster].sum()
            assert total == pytest.approx(sparsity, rel=1e-5)
            seen += is_kept
    assert seen >= 3


# --- whoever weighs, and however the corpus lies ---


def drawn_corpus(seed, n=60, texts=40, classes=3):
    """Rows with repeated texts, in mixed order; equal texts of a class have equal rows."""
    rng = np.random.default_rng(seed)
    text = rng.integers(texts, size=n)
    label = rng.integers(classes, size=n)
    label[: 2 * classes] = np.repeat(np.arange(classes), 2)
    text[: 2 * classes] = np.arange(2 * classes)
    x = rng.normal(size=(texts, classes, 4)).astype(np.float32)[text, label]
    return pa.table(
        {
            "id": rng.permutation(n),
            "text": [f"text {t}" + " " * int(rng.integers(2)) for t in text],
            "label": label,
            "embedding": fixed_size_list(x),
        }
    )


def shuffled(table, seed):
    return table.take(np.random.default_rng(seed).permutation(len(table)))


@settings(deadline=None, max_examples=20)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 50),
    st.sampled_from(["cosine", "euclidean"]),
    st.sampled_from(["borderline", "adasyn"]),
)
def test_weights_are_the_same_for_any_sharding_and_row_order(seed, each, metric, variant):
    table, points = drawn_corpus(seed), {0: 5, 2: 9}
    config = config_of(variant, metric)
    whole = unsharded_weights(ds.dataset(table), points, config)
    texts = read_corpus(ds.dataset(shuffled(table, seed)), [2, 0, 1])
    counts = Counter(table["label"].to_pylist())
    groups = shards({label: counts[label] for label in points}, 0, 0, each)
    cut = pa.concat_tables([source_weights(texts, group, points, config) for group in groups])
    assert cut.combine_chunks().equals(whole.combine_chunks())


@pytest.mark.parametrize("variant", ["kmeans", "svm"])
def test_a_variant_of_the_whole_does_not_know_the_order_of_rows(variant):
    table, points = drawn_corpus(0, 200, 150), {0: 5, 2: 9}
    whole, mixed = (
        unsharded_weights(ds.dataset(rows), points, config_of(variant))
        for rows in (table, shuffled(table, 1))
    )
    assert whole.equals(mixed) and sum(count_sources(whole).values()) > 5
    counts = Counter(table["label"].to_pylist())
    assert len(weight_shards(config_of(variant), counts, points)) == 1


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["borderline", "adasyn", "kmeans", "svm"]))
def test_a_text_that_stands_there_twice_weighs_no_more(seed, variant):
    table, points = drawn_corpus(seed), {0: 5, 1: 4, 2: 9}
    texts = read_corpus(ds.dataset(table), [0, 1, 2])
    once = table.filter(pa.compute.is_in(table["id"], value_set=texts.ids))
    assert len(once) < len(table)
    repeated, single = (
        unsharded_weights(ds.dataset(rows), points, config_of(variant)) for rows in (table, once)
    )
    assert repeated["id"].equals(single["id"])
    if variant == "kmeans":  # its rows share what a cluster has
        copies = texts.copies
        total = repeated["weight"].to_numpy() * copies
        for label in points:
            here = repeated["label"].to_numpy() == label
            assert total[here].sum() == pytest.approx(single["weight"].to_numpy()[here].sum())
    else:
        assert repeated.equals(single)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["borderline", "adasyn", "kmeans", "svm"]))
def test_a_plan_starts_from_texts_with_a_weight_and_ends_in_its_cluster(seed, variant):
    table, points = drawn_corpus(seed, 120, 90), {0: 40, 1: 30, 2: 20}
    source, config = ds.dataset(table), config_of(variant, neighbors_per_point=1 + seed % 3)
    weights = unsharded_weights(source, points, config)
    kept, _ = without_sources(points, count_sources(weights), config)
    if not kept:
        return
    plan = unsharded_plan(source, kept, 1, 0, config, weights=weights)
    assert Counter(plan["label"].to_pylist()) == kept
    text_of = dict(
        zip(table["id"].to_pylist(), map(str.strip, table["text"].to_pylist()), strict=True)
    )
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    told = {(labels[w["id"]], text_of[w["id"]]): w for w in weights.to_pylist()}
    for row in plan.to_pylist():
        begin = told[row["label"], text_of[row["source_id"]]]
        assert begin["weight"] > 0
        neighbors = [row["neighbor_id"], *(row.get("other_neighbor_ids") or [])]
        assert len({text_of[i] for i in [row["source_id"], *neighbors]}) == len(neighbors) + 1
        assert all(labels[i] == row["label"] for i in neighbors)
        if variant == "kmeans":
            clusters = {told[row["label"], text_of[i]]["cluster"] for i in neighbors}
            assert clusters == {begin["cluster"]}
        reach = begin.get("reach", 1.0)
        assert 0 <= row["lam"] / reach < 1
        for lam in row.get("other_lams") or []:
            assert 0 <= lam / reach <= row["lam"] / reach


def test_sources_follow_their_weights():
    table = drawn_corpus(4, 200, 150)
    source, config = ds.dataset(table), config_of("adasyn")
    weights = unsharded_weights(source, {0: 1}, config)
    plan = unsharded_plan(source, {0: 6000}, 1, 0, config, weights=weights)
    (rows,) = read_classes(source, [0])
    found = sources_of(ds.dataset(weights), rows).weight[rows.text_of_row]
    expected = dict(zip(rows.ids.to_pylist(), found / found.sum() * 6000, strict=True))
    got = Counter(plan["source_id"].to_pylist())
    ids = [i for i, n in expected.items() if n]
    assert set(got) == set(ids) and len(ids) < len(found)
    assert stats.chisquare([got[i] for i in ids], [expected[i] for i in ids]).pvalue > 0.01


# --- edges ---


def test_a_text_without_weight_is_never_drawn():
    table = drawn_corpus(0, texts=40)
    (rows,) = read_classes(ds.dataset(table), [0])
    weight = np.zeros(rows.distinct)
    weight[[2, 5]] = 0.1, 0.2
    u = np.array([0, 1 - 2.0**-53, 0.3, 0.4])
    drawn = rows.text_of_row[planning._chosen(rows, u, Sources(weight))]
    assert set(drawn) == {2, 5} and drawn[0] in (2, 5)


def far_apart(n=12):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], n)
    return table_of(rng.normal(size=(2 * n, 3)) + 100 * y[:, None], y)


@pytest.mark.parametrize(
    ("variant", "told"),
    [("borderline", "in danger"), ("adasyn", "of another class among the 4 nearest")],
)
def test_a_class_without_a_source_is_skipped_with_a_warning(variant, told):
    config, points = config_of(variant), {"class 0": 3, "class 1": 4}
    weights = unsharded_weights(ds.dataset(far_apart()), points, config)
    kept, warnings = without_sources(points, count_sources(weights), config)
    assert kept == {} and len(warnings) == 2
    assert warnings[0].startswith("Class 'class 0' is skipped: none of its texts")
    assert told in warnings[0]
    with pytest.raises(UserError, match="'class 1' has no text that a point could start from"):
        unsharded_plan(ds.dataset(far_apart()), {"class 1": 4}, 1, 0, config, weights=weights)


def test_a_small_class_has_no_cluster_of_k_neighbours_but_all():
    table = far_apart(3)
    points = {"class 0": 3, "class 1": 4}
    config = config_of("kmeans").model_copy(update={"plan": config_of("kmeans", n_clusters=1).plan})
    weights = unsharded_weights(ds.dataset(table), points, config)
    assert count_sources(weights) == {"class 0": 3, "class 1": 3}
    many = unsharded_weights(ds.dataset(table), points, config_of("kmeans", n_clusters=6))
    assert count_sources(many) == {"class 0": 0, "class 1": 0}


def test_danger_at_its_bounds():
    assert is_in_danger(np.arange(6), 5).tolist() == [False, False, False, True, True, False]


def test_without_texts_each_row_is_one():
    table = table_of(*on_the_sphere())
    points = {"class 3": 9}
    for variant in ("borderline", "adasyn", "kmeans", "svm"):
        with_texts, without = (
            unsharded_weights(ds.dataset(rows), points, config_of(variant))
            for rows in (table, table.drop_columns(["text"]))
        )
        assert with_texts.equals(without)


def test_weights_of_another_corpus_are_refused():
    table, other = drawn_corpus(0), drawn_corpus(1)
    weights = unsharded_weights(ds.dataset(other), {0: 5}, config_of("adasyn"))
    (rows,) = read_classes(ds.dataset(table), [0])
    with pytest.raises(ValueError, match="do not match its texts"):
        sources_of(ds.dataset(weights), rows)
    with pytest.raises(ValueError, match="needs sources"):
        planning.plan_shard(rows, Shard(1, 0, 0, 5, 0), config_of("adasyn"))


def test_too_many_rows_for_a_support_vector_machine():
    check_rows("svm", MOST_SVM_ROWS)
    check_rows("borderline", 10**9)
    with pytest.raises(UserError, match="at most 20000 rows, but the corpus has 20001"):
        check_rows("svm", MOST_SVM_ROWS + 1)
