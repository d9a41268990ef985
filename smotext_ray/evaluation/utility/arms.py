"""Control arms: training sets built from the real rows without an LLM.

An arm is a way to build a training set from the real rows. The score of SMOTExT's arm means little
without the scores of cheaper arms on the same seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from smotext_ray.config.choices import OtherVariant, Variant
from smotext_ray.config.schema import EncoderConfig, NeighborsConfig, PlanConfig, RunConfig
from smotext_ray.evaluation.rows import Rows, unencoded
from smotext_ray.evaluation.utility.eda import Synonyms, augment, wordnet
from smotext_ray.evaluation.utility.markov import Chain, chain
from smotext_ray.evaluation.utility.training_sets import TrainingSet, of_real
from smotext_ray.plan.strategy import check_class_sizes
from smotext_ray.plan.strategy import targets as points_per_class
from smotext_ray.plan.unsharded import unsharded_plan, unsharded_weights
from smotext_ray.plan.weights import count_sources, without_sources
from smotext_ray.tables import fixed_size_list, matrix
from smotext_ray.utils.text import distinct_part

K_NEIGHBORS = 5

# (real, targets, seed) -> what to train on. Targets are final counts per class; other classes keep
# their rows. All arms keep the real rows first, in order.
Arm = Callable[[Rows, Mapping[str, int], int], TrainingSet]


def nothing(real: Rows, targets: Mapping[str, int], seed: int) -> TrainingSet:
    """The real rows, unchanged."""
    return of_real(real)


def class_weights(real: Rows, targets: Mapping[str, int], seed: int) -> TrainingSet:
    """The real rows with balanced class weights; targets are ignored.

    A row of a class with ``n_c`` rows has weight ``n / (classes * n_c)``; the mean weight is 1.
    """
    from sklearn.utils.class_weight import compute_sample_weight

    return of_real(real, np.asarray(compute_sample_weight("balanced", real.labels)))


def random_oversampling(real: Rows, targets: Mapping[str, int], seed: int) -> TrainingSet:
    """Repeat rows of each class, drawn with replacement, up to its target.

    Parameters
    ----------
    real : Rows
    targets : mapping of label to int
        Final counts.
    seed : int

    Raises
    ------
    UserError
        If a label is unknown, or a target is below the current count.
    """
    from imblearn.over_sampling import RandomOverSampler

    final = _final_counts(real, targets)
    if not final:
        return of_real(real)
    sampler = RandomOverSampler(sampling_strategy=final, random_state=seed)
    sampler.fit_resample(np.arange(len(real))[:, None], real.labels)
    copied = sampler.sample_indices_[len(real) :]
    return of_real(real).joined(real.take(copied), copied[:, None])


def embedding_smote(real: Rows, targets: Mapping[str, int], seed: int) -> TrainingSet:
    """SMOTE on embeddings without decoding, up to each class's target.

    The added rows have no text (``texts`` are "" and ``has_text`` is False), so this arm is for
    classifiers that read embeddings. They are interpolated between rows normalized to length 1, as
    the embedding classifier sees them. Five neighbors, or fewer in a class of fewer than six rows;
    the row of a singleton class is repeated.

    Parameters
    ----------
    real : Rows
    targets : mapping of label to int
        Final counts.
    seed : int

    Raises
    ------
    UserError
        If a label is unknown, or a target is below the current count.

    References
    ----------
    .. [1] Chawla, Bowyer, Hall, Kegelmeyer: SMOTE: synthetic minority over-sampling
       technique. JAIR 16, 2002.
    """
    from sklearn.preprocessing import normalize

    unit = normalize(real.embeddings)
    counts, final = Counter(real.labels), _final_counts(real, targets)
    by_neighbors: dict[int, dict[str, int]] = {}
    for label, count in final.items():
        by_neighbors.setdefault(min(K_NEIGHBORS, counts[label] - 1), {})[label] = count
    made = of_real(real)
    for k, strategy in sorted(by_neighbors.items()):
        points, names, origins = _interpolated(unit, real.labels, strategy, k, seed)
        made = made.joined(_without_texts(points, names), origins)
    return made


def _interpolated(
    unit: np.ndarray, labels: list[str], strategy: Mapping[str, int], k: int, seed: int
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """imbalanced-learn's SMOTE points, their labels, and the two rows of each, shape (n, 2)."""
    from imblearn.over_sampling import SMOTE, RandomOverSampler

    if not k:
        copies = RandomOverSampler(sampling_strategy=strategy, random_state=seed)
        points, names = copies.fit_resample(unit, labels)
        rows = copies.sample_indices_[len(labels) :]
        return points[len(labels) :], _strings(names[len(labels) :]), rows[:, None]
    parents: list[np.ndarray] = []

    class Remembered(SMOTE):
        """Remembers the rows it interpolates between, by class and by index within the class."""

        def _generate_samples(
            self, x: Any, data: Any, neighbors: Any, rows: Any, columns: Any, *others: Any
        ) -> Any:
            parents.append(np.stack([rows, neighbors[rows, columns]], axis=1))
            return super()._generate_samples(x, data, neighbors, rows, columns, *others)

    sampler = Remembered(sampling_strategy=strategy, k_neighbors=k, random_state=seed)
    points, names = sampler.fit_resample(unit, labels)
    added, found = _strings(names[len(labels) :]), np.asarray(labels, dtype=str)
    origins = [np.flatnonzero(found == name)[places] for name, places in
               zip(dict.fromkeys(added), parents, strict=True)]  # fmt: skip
    return points[len(labels) :], added, np.concatenate(origins)


def _without_texts(points: np.ndarray, labels: list[str]) -> Rows:
    return Rows([""] * len(points), points.astype(np.float32), labels, has_text=False)


def _strings(labels: Any) -> list[str]:
    return [str(label) for label in labels]


def embedding_variant(
    real: Rows, targets: Mapping[str, int], seed: int, variant: Variant
) -> TrainingSet:
    """A variant of SMOTE on embeddings without decoding, like `embedding_smote`.

    The points are those planned by a run with ``plan.variant``, between rows normalized to length
    1; ten neighbors decide which rows are in danger. A class in which the variant finds no source
    gets plain SMOTE points, so that all arms add the same number.

    Parameters
    ----------
    real : Rows
    targets : mapping of label to int
        Final counts.
    seed : int, not negative
    variant : {"borderline", "adasyn", "kmeans", "svm"}

    Raises
    ------
    UserError
        If a label is unknown, or a target is below the current count.
    """
    counts, new = Counter(real.labels), _new_rows(real, targets)
    if not new:
        return of_real(real)
    config = RunConfig(
        encoder=EncoderConfig(normalize=False),
        neighbors=NeighborsConfig(k_neighbors=K_NEIGHBORS, metric="euclidean"),
        plan=PlanConfig(variant=variant, seed=seed),
    )
    source = _dataset(real)
    texts = {
        (distinct_part(text), label) for text, label in zip(real.texts, real.labels, strict=True)
    }
    several, _ = check_class_sizes(Counter(k for _, k in texts), new, K_NEIGHBORS, "skip")
    made, kept = of_real(real), dict[str, int]()
    if several:
        weights = unsharded_weights(source, several, config)
        kept, _ = without_sources(several, count_sources(weights), config)
    if kept:
        plan = unsharded_plan(source, kept, 1, 0, config, weights=weights)
        parents = np.stack([plan["source_id"].to_numpy(), plan["neighbor_id"].to_numpy()], axis=1)
        added = _without_texts(matrix(plan["point"]), plan["label"].to_pylist())
        made = made.joined(added, parents)
    rest = {label: counts[label] + count for label, count in new.items() if label not in kept}
    others = embedding_smote(real, rest, seed)
    return made.followed_by(others, len(real))


def _dataset(real: Rows) -> ds.Dataset:
    from sklearn.preprocessing import normalize

    return ds.dataset(
        pa.table(
            {
                "id": np.arange(len(real)),
                "text": real.texts,
                "label": real.labels,
                "embedding": fixed_size_list(normalize(real.embeddings)),
            }
        )
    )


def eda(
    real: Rows,
    targets: Mapping[str, int],
    seed: int,
    synonyms: Callable[[], Synonyms | None] = wordnet,
) -> TrainingSet:
    """EDA: random small edits of the texts of each class, up to its target.

    Every row of a class is edited equally often; the remainder is drawn at random. The added rows
    have no embeddings yet: they are NaN and ``has_embedding`` is False until `rows.encoded` fills
    them in.

    Parameters
    ----------
    real : Rows
    targets : mapping of label to int
        Final counts.
    seed : int, not negative
    synonyms : callable
        Returns the source of synonyms, or None for EDA without synonyms.

    Raises
    ------
    UserError
        If a label is unknown, a target is below the current count, or the package with WordNet is
        not installed.
    """
    source, labels = synonyms(), np.asarray(real.labels, dtype=str)
    texts: list[str] = []
    names: list[str] = []
    edited: list[int] = []
    for label, count in _new_rows(real, targets).items():
        rows = np.flatnonzero(labels == label)
        # Keyed by the class's first row, so that draws of a class do not depend on other classes.
        order = np.random.default_rng([seed, int(rows[0])]).permutation(rows)
        for i in range(count):
            copy, at = divmod(i, len(order))
            row = int(order[at])
            texts.append(augment(real.texts[row], seed, row, copy, source))
            names.append(label)
            edited.append(row)
    if not texts:
        return of_real(real)
    added = unencoded(texts, names, real.embeddings.shape[1])
    return of_real(real).joined(added, np.array(edited)[:, None])


def markov(real: Rows, targets: Mapping[str, int], seed: int) -> TrainingSet:
    """Texts of a Markov chain over the words of each class, up to its target.

    The added rows have yet to be encoded, like those of `eda`. Their origins are the rows whose
    word pairs they consist of.

    Parameters
    ----------
    real : Rows
    targets : mapping of label to int
        Final counts.
    seed : int, not negative

    Raises
    ------
    UserError
        If a label is unknown, or a target is below the current count.
    """
    labels = np.asarray(real.labels, dtype=str)
    texts: list[str] = []
    names: list[str] = []
    parents: list[list[int]] = []
    for label, count in _new_rows(real, targets).items():
        rows = np.flatnonzero(labels == label)
        found = chain([real.texts[row] for row in rows], rows.tolist())
        rng = np.random.default_rng([seed, int(rows[0]), 23])
        for _ in range(count if found else 0):
            text, of = cast(Chain, found).text(rng)
            texts.append(text)
            names.append(label)
            parents.append(sorted(of))
    if not texts:
        return of_real(real)
    width = max(map(len, parents))
    origins = np.array([of + [-1] * (width - len(of)) for of in parents], np.int64)
    return of_real(real).joined(unencoded(texts, names, real.embeddings.shape[1]), origins)


ARMS: dict[str, Arm] = {
    "nothing": nothing,
    "class_weights": class_weights,
    "random_oversampling": random_oversampling,
    "embedding_smote": embedding_smote,
    "eda": eda,
    "eda_without_synonyms": partial(eda, synonyms=lambda: None),
    "markov": markov,
}

# Added on request.
VARIANT_ARMS: dict[str, Arm] = {
    variant: partial(embedding_variant, variant=variant) for variant in get_args(OtherVariant)
}


def _new_rows(real: Rows, targets: Mapping[str, int]) -> dict[Any, int]:
    return points_per_class(Counter(real.labels), targets)


def _final_counts(real: Rows, targets: Mapping[str, int]) -> dict[str, int]:
    """Targets of the classes that get rows."""
    counts = Counter(real.labels)
    return {label: counts[label] + new for label, new in _new_rows(real, targets).items()}
