"""Control arms: training sets built from the real rows without an LLM.

An arm is a way to build a training set from the real rows. The score of SMOTExT's arm means little
without the scores of cheaper arms on the same seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from smotext_ray.config.choices import OtherVariant, Variant
from smotext_ray.config.schema import EncoderConfig, NeighborsConfig, PlanConfig, RunConfig
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.statistics import Interval
from smotext_ray.evaluation.utility.eda import Synonyms, augment, wordnet
from smotext_ray.plan.strategy import check_class_sizes
from smotext_ray.plan.strategy import targets as points_per_class
from smotext_ray.plan.unsharded import unsharded_plan, unsharded_weights
from smotext_ray.plan.weights import count_sources, without_sources
from smotext_ray.tables import fixed_size_list, matrix
from smotext_ray.utils.text import distinct_part

K_NEIGHBORS = 5

# (real, targets, seed) -> training rows, and sample weights or None. Targets are final counts per
# class; a class that is not named keeps its rows. All arms keep the real rows first, in order.
Arm = Callable[[Rows, Mapping[str, int], int], tuple[Rows, np.ndarray | None]]


def nothing(real: Rows, targets: Mapping[str, int], seed: int) -> tuple[Rows, None]:
    """The real rows, unchanged."""
    return real, None


def class_weights(real: Rows, targets: Mapping[str, int], seed: int) -> tuple[Rows, np.ndarray]:
    """The real rows with balanced class weights; targets are ignored.

    A row of a class with ``n_c`` rows has weight ``n / (classes * n_c)``; the mean weight is 1.
    """
    from sklearn.utils.class_weight import compute_sample_weight

    return real, np.asarray(compute_sample_weight("balanced", real.labels))


def random_oversampling(
    real: Rows, targets: Mapping[str, int], seed: int
) -> tuple[Rows, np.ndarray | None]:
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
        return real, None
    sampler = RandomOverSampler(sampling_strategy=final, random_state=seed)
    sampler.fit_resample(np.arange(len(real))[:, None], real.labels)
    return real.take(sampler.sample_indices_), None


def embedding_smote(real: Rows, targets: Mapping[str, int], seed: int) -> tuple[Rows, None]:
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
    from imblearn.over_sampling import SMOTE, RandomOverSampler
    from sklearn.preprocessing import normalize

    unit = normalize(real.embeddings)
    counts, final = Counter(real.labels), _final_counts(real, targets)
    by_neighbors: dict[int, dict[str, int]] = {}
    for label, count in final.items():
        by_neighbors.setdefault(min(K_NEIGHBORS, counts[label] - 1), {})[label] = count
    made = real
    for k, strategy in sorted(by_neighbors.items()):
        if k:
            sampler = SMOTE(sampling_strategy=strategy, k_neighbors=k, random_state=seed)
        else:
            sampler = RandomOverSampler(sampling_strategy=strategy, random_state=seed)
        points, labels = sampler.fit_resample(unit, real.labels)
        added = points[len(real) :].astype(np.float32)
        names = [str(label) for label in labels[len(real) :]]
        made = made.joined(Rows([""] * len(added), added, names, has_text=False))
    return made, None


def embedding_variant(
    real: Rows, targets: Mapping[str, int], seed: int, variant: Variant
) -> tuple[Rows, None]:
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
        return real, None
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
    made, kept = real, dict[str, int]()
    if several:
        weights = unsharded_weights(source, several, config)
        kept, _ = without_sources(several, count_sources(weights), config)
    if kept:
        plan = unsharded_plan(source, kept, 1, 0, config, weights=weights)
        names = plan["label"].to_pylist()
        made = made.joined(Rows([""] * len(plan), matrix(plan["point"]), names, has_text=False))
    rest = {label: counts[label] + count for label, count in new.items() if label not in kept}
    others, _ = embedding_smote(real, rest, seed)
    if len(others) > len(real):
        made = made.joined(others.take(range(len(real), len(others))))
    return made, None


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
) -> tuple[Rows, None]:
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
        For a label that is not there, or a target below the present count; or if the package with
        WordNet is not installed.
    """
    source, labels = synonyms(), np.asarray(real.labels, dtype=str)
    texts: list[str] = []
    names: list[str] = []
    for label, count in _new_rows(real, targets).items():
        rows = np.flatnonzero(labels == label)
        # Keyed by the class's first row, so that draws of a class do not depend on other classes.
        order = np.random.default_rng([seed, int(rows[0])]).permutation(rows)
        for i in range(count):
            copy, at = divmod(i, len(order))
            row = int(order[at])
            texts.append(augment(real.texts[row], seed, row, copy, source))
            names.append(label)
    if not texts:
        return real, None
    absent = np.full((len(texts), real.embeddings.shape[1]), np.nan, dtype=np.float32)
    return real.joined(Rows(texts, absent, names, has_embedding=False)), None


ARMS: dict[str, Arm] = {
    "nothing": nothing,
    "class_weights": class_weights,
    "random_oversampling": random_oversampling,
    "embedding_smote": embedding_smote,
    "eda": eda,
    "eda_without_synonyms": partial(eda, synonyms=lambda: None),
}

# Added on request.
VARIANT_ARMS: dict[str, Arm] = {
    variant: partial(embedding_variant, variant=variant) for variant in get_args(OtherVariant)
}


def gain_is_interpolations(over_shuffled: Interval, over_label_only: Interval) -> bool:
    """Whether a gain is credited to interpolation.

    Only if SMOTExT significantly beats both controls: decoding shuffled vectors, which keeps the
    LLM and its soft prompts but puts them in the wrong place, and prompting the LLM with the class
    name only.

    Parameters
    ----------
    over_shuffled, over_label_only : Interval
        Intervals of the paired differences, SMOTExT minus control, from `scores.differences`; both
        must lie entirely above zero. With a single seed there is no interval: False.
    """
    return over_shuffled.low > 0 and over_label_only.low > 0


def _new_rows(real: Rows, targets: Mapping[str, int]) -> dict[Any, int]:
    return points_per_class(Counter(real.labels), targets)


def _final_counts(real: Rows, targets: Mapping[str, int]) -> dict[str, int]:
    """Targets of the classes that get rows."""
    counts = Counter(real.labels)
    return {label: counts[label] + new for label, new in _new_rows(real, targets).items()}
