"""Hugging Face datasets: add synthetic texts to one split, and leave the others unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from smotext_ray.api.containers import more_dataset

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from smotext_ray.api.sampler import SMOTExT


Data = TypeVar("Data", "Dataset", "DatasetDict")


def augment_split(
    data: Data, sampler: SMOTExT, *, split: str = "train", label_column: str = "label"
) -> Data:
    """Add synthetic texts to the training split of a dataset.

    Other splits are not read, so test texts never become parents.

    Parameters
    ----------
    data : datasets.DatasetDict or datasets.Dataset
        A Dataset is treated as the split itself.
    sampler : SMOTExT
        Its ``text_column`` is used; afterwards its ``lineage_`` has one row per synthetic text. Its
        ``sampling_strategy`` may use the names or the numbers of the classes of a
        `datasets.ClassLabel`.
    split : str, default="train"
    label_column : str, default="label"

    Returns
    -------
    datasets.DatasetDict or datasets.Dataset
        Like ``data``, with synthetic rows at the end of the split. The features are unchanged, so
        it can be pushed to the hub as is; other columns are missing in the synthetic rows.

    Raises
    ------
    ValueError
        For a missing split or column, or an error of the sampler.

    Examples
    --------
    >>> from datasets import load_dataset
    >>> from smotext_ray import SMOTExT, augment_split
    >>> news = load_dataset("ag_news")  # doctest: +SKIP
    >>> news = augment_split(news, SMOTExT(random_state=0))  # doctest: +SKIP
    """
    from datasets import DatasetDict

    if isinstance(data, DatasetDict):
        if split not in data:
            raise ValueError(f"Unknown split {split!r}; choose from {', '.join(data)}.")
        more = augment_split(data[split], sampler, label_column=label_column)
        return DatasetDict({**data, split: more})
    for column in (sampler.text_column, label_column):
        if column not in data.column_names:
            raise ValueError(
                f"Unknown column {column!r}; choose from {', '.join(data.column_names)}."
            )
    rows = len(data)
    plain = data.with_format(None)
    given = list(plain[label_column])
    kind = data.features[label_column]
    names = _names(kind) if _has_names(sampler) else None
    if given and isinstance(given[0], list):
        return _with_sets(
            data, sampler, label_column, given, _names(getattr(kind, "feature", None))
        )
    if names is not None:
        given = [
            names.int2str(label) if label is not None and label >= 0 else label for label in given
        ]
    texts, labels = sampler.fit_resample(list(plain[sampler.text_column]), given)
    new = labels[rows:] if names is None else names.str2int(labels[rows:])
    return more_dataset(data, {sampler.text_column: texts[rows:], label_column: new})


def _with_sets(
    data: Any, sampler: SMOTExT, label_column: str, given: list[list[Any]], names: Any
) -> Any:
    """`augment_split` for a column of lists of labels, where integers may have class names."""
    names = names if _has_names(sampler) else None
    sets = [frozenset(map(names.int2str, each) if names else each) for each in given]
    texts, labels = sampler.fit_resample(list(data.with_format(None)[sampler.text_column]), sets)
    rows = len(data)
    new = [sorted(map(names.str2int, each) if names else each) for each in labels[rows:]]
    return more_dataset(data, {sampler.text_column: texts[rows:], label_column: new})


def _has_names(sampler: SMOTExT) -> bool:
    """Whether the sampler's strategy refers to classes by name."""
    strategy = sampler.sampling_strategy
    return isinstance(strategy, Mapping) and any(isinstance(name, str) for name in strategy)


def _names(feature: Any) -> Any:
    """The feature, if it is a ClassLabel; else None."""
    from datasets import ClassLabel

    return feature if isinstance(feature, ClassLabel) else None
