"""Checks of the sampler's input, before a model is loaded, and warnings after."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from smotext_ray.api.labels import plain_label
from smotext_ray.errors import UserError
from smotext_ray.plan.strategy import singleton_sentence
from smotext_ray.utils.text import distinct_part, is_blank


def check_texts(texts: list[Any], labels: NDArray[Any]) -> None:
    """Reject values that are not usable texts, naming their rows.

    Raises
    ------
    ValueError
    """
    if len(texts) != len(labels):
        raise ValueError(f"There are {len(texts)} texts and {len(labels)} labels.")
    for row, text in enumerate(texts):
        if not isinstance(text, str) or is_blank(text):
            what = "empty" if isinstance(text, str) else f"of type {type(text).__name__}"
            raise ValueError(f"Row {row} of X is {what}; give a non-empty string.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"Row {row} of X has half of a surrogate pair, which is no character; remove it."
            ) from None


def check_singletons(texts: list[str], labels: NDArray[Any], wanted: Mapping[Any, int]) -> None:
    """Reject a class that should grow but has only one distinct text.

    Raises
    ------
    UserError
    """
    distinct: dict[Any, set[str]] = {}
    for text, label in zip(texts, labels.tolist(), strict=True):
        distinct.setdefault(label, set()).add(distinct_part(text))
    grown = [plain_label(label) for label, number in wanted.items() if number]
    singletons = [label for label in grown if len(distinct[label]) < 2]
    if singletons:
        raise UserError(singleton_sentence(singletons, 'on_singleton_class="skip"'))


def warn_of(sentences: list[str], short: Mapping[Any, int]) -> None:
    """Warn at the line that called ``fit_resample``, including about classes short of texts."""
    for sentence in sentences:
        warnings.warn(sentence, stacklevel=6)
    for label, missing in short.items():
        warnings.warn(f"Class {label!r} is {missing} texts short of its target.", stacklevel=6)
