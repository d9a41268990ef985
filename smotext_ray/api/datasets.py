"""Hugging Face data sets: one split gets new texts, the others stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from smotext_ray.api.containers import more_dataset

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from smotext_ray.api.sampler import SMOTExT


Data = TypeVar("Data", "Dataset", "DatasetDict")


def augment_split(
    data: Data, sampler: SMOTExT, *, split: str = "train", label_column: str = "label"
) -> Data:
    """Add new texts to the training split of a data set.

    No text of another split is read, so none that a model is tested on becomes a parent.

    Parameters
    ----------
    data : datasets.DatasetDict or datasets.Dataset
        A Dataset is taken for the split itself.
    sampler : SMOTExT
        Its ``text_column`` is read; its ``lineage_`` then has a row a new text. Classes that it
        names are what the label column holds: of a `datasets.ClassLabel` the numbers.
    split : str, default="train"
    label_column : str, default="label"

    Returns
    -------
    datasets.DatasetDict or datasets.Dataset
        As ``data``, with the new rows behind the split's own. The features are the same, so
        that it can be pushed to the hub as it is; what other columns there are is missing in
        the new rows.

    Raises
    ------
    ValueError
        For a split or column that is not there, or what the sampler refuses.

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
            raise ValueError(f"There is no split {split!r}; there are {', '.join(data)}.")
        more = augment_split(data[split], sampler, label_column=label_column)
        return DatasetDict({**data, split: more})
    for column in (sampler.text_column, label_column):
        if column not in data.column_names:
            raise ValueError(
                f"There is no column {column!r}; there are {', '.join(data.column_names)}."
            )
    rows = len(data)
    texts, labels = sampler.fit_resample(list(data[sampler.text_column]), list(data[label_column]))
    return more_dataset(data, {sampler.text_column: texts[rows:], label_column: labels[rows:]})
