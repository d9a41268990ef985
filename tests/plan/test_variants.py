"""Each variant makes imbalanced-learn's points of the same draws, whoever weighs which texts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow.dataset as ds
import pytest
from imblearn.over_sampling import ADASYN, SMOTE, SVMSMOTE, BorderlineSMOTE, KMeansSMOTE
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import make_classification
from sklearn.svm import SVC
from variant_corpora import CLUSTERS, SEED, K, M, config_of, on_the_sphere, table_of

from smotext_ray.plan import points as planning
from smotext_ray.plan import variants
from smotext_ray.plan.classes import read_classes
from smotext_ray.plan.draws import Draws
from smotext_ray.plan.shards import Shard
from smotext_ray.plan.unsharded import unsharded_weights
from smotext_ray.plan.weights import sources_of
from smotext_ray.tables import matrix


def classified():
    x, y = make_classification(
        260, 8, n_informative=5, n_classes=3, weights=[0.65, 0.23], class_sep=1.2, random_state=0
    )
    return x, y


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
    """Text, place of the neighbor and step of imbalanced-learn's points of a class.

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
