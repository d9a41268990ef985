"""`SMOTExT` over texts with several labels each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from smotext_ray.api.checks import check_singletons, check_texts
from smotext_ray.api.containers import Extend, number_of_columns, read_texts
from smotext_ray.api.label_sets import Back, read_label_sets
from smotext_ray.api.neighbors import neighbors_object
from smotext_ray.api.settings import config_of
from smotext_ray.errors import UserError
from smotext_ray.pipeline.wanted import check_for_labels
from smotext_ray.plan.multilabel import label_targets
from smotext_ray.run.sample_weight import row_weights

if TYPE_CHECKING:
    from smotext_ray.api.sampler import SMOTExT


def begin(sampler: SMOTExT, X: Any, y: Any) -> tuple[list[str], list[list[Any]], Extend, Back]:
    """Check the input of a sampler, and determine how many texts each label gets.

    Returns
    -------
    texts : list of str
    sets : list of list
        The labels of each text.
    extend, back : callable
        Add new texts, and their labels, in the types that were given.

    Raises
    ------
    ValueError
    """
    sampler._validate_params()
    sets, back = read_label_sets(y)
    texts, extend = read_texts(X, sampler.text_column)
    check_texts(texts, np.empty(len(sets)))
    sampler.n_features_in_ = number_of_columns(X)
    counts = Counter(label for labels in sets for label in labels)
    strategy = sampler.sampling_strategy
    strategy = strategy(y) if callable(strategy) else strategy
    sampler.nn_k_ = neighbors_object(sampler.k_neighbors, sampler.metric)
    try:
        if len(counts) < 2:
            raise UserError(f"y has only the label {next(iter(counts))!r}; give at least two.")
        sampler.sampling_strategy_ = label_targets(counts, strategy)
        sampler._settings = config_of(sampler)
        check_for_labels(sampler._settings)
        if sampler.on_singleton_class == "error":
            pairs = [
                (text, label) for text, each in zip(texts, sets, strict=True) for label in each
            ]
            labels = np.array([label for _, label in pairs], object)
            check_singletons([text for text, _ in pairs], labels, sampler.sampling_strategy_)
    except UserError as error:
        raise ValueError(str(error)) from error
    return texts, sets, extend, back


def resample(sampler: SMOTExT, X: Any, y: Any) -> tuple[Any, Any]:
    """`SMOTExT.fit_resample` for texts with several labels each."""
    texts, sets, extend, back = begin(sampler, X, y)
    kind = pa.string() if isinstance(next(iter(filter(None, sets)))[0], str) else pa.int64()
    column = pa.array(sets, pa.list_(kind))
    corpus = pa.table({"id": np.arange(len(texts)), "text": texts, "label": column})
    accepted = sampler._accepted(corpus, sampler.sampling_strategy_)
    new = [] if accepted is None else accepted["labels"].to_pylist()
    sampler.sample_weight_ = row_weights(sets, new)
    made = [] if accepted is None else accepted["text"].to_pylist()
    return extend(made), back(new)
