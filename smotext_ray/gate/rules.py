"""The gate's rules: a text must be close to its point, of its class, new, and well-formed.

Pure numpy; the caller provides the embeddings. A text's class is that of the nearest class mean in
the metric of the pooled within-class covariance: linear discriminant analysis with equal priors
(Fisher, 1936), whose sums can be computed in one pass over any number of rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from smotext_ray.config.schema import GateConfig
from smotext_ray.gate.label_reference import LabelReference
from smotext_ray.gate.reasons import REASON_OF_CLEANING, Reason
from smotext_ray.gate.reference import ClassReference
from smotext_ray.utils.text import words

NGRAM = 4  # words; unit of overlap when checking for copies


@dataclass(frozen=True)
class Verdict:
    """The gate's decision on one point.

    Attributes
    ----------
    chosen : int
        Index of the candidate that is kept.
    accepted : bool
    reason : str
        Reason for rejection; empty if accepted.
    """

    chosen: int
    accepted: bool
    reason: Reason | Literal[""]


@dataclass(frozen=True)
class Candidate:
    """What the gate knows about one text decoded from a point.

    Attributes
    ----------
    text : str
    finish_reason : str
        The engine's; ``"stop"`` if the text is complete.
    cosine : float
        Of the text's embedding to the point; NaN if it has none.
    right_class : bool
        Whether the text is nearest to its own class. If rows have several labels: whether it has
        kept the one that it was made for and, with ``gate.labels`` "reject", all others.
    unclean : bool
        Whether ``gate.cleaning`` would remove the text from the corpus.
    """

    text: str
    finish_reason: str
    cosine: float
    right_class: bool
    unclean: bool


def choose_candidate(
    candidates: Sequence[Candidate],
    parents: Sequence[str],
    reference: ClassReference | LabelReference,
    config: GateConfig,
) -> Verdict:
    """Choose one of a point's candidates.

    Keep the one closest to the point among those that pass every check; if none passes, the closest
    of all, with its reason.

    Parameters
    ----------
    candidates : sequence of Candidate, at least one
    parents : sequence of str
        The texts whose embeddings were mixed into the point.
    reference : ClassReference or LabelReference
    config : GateConfig

    Returns
    -------
    Verdict
    """
    cosines = np.array([candidate.cosine for candidate in candidates])
    nearest_first = np.argsort(-cosines, kind="stable").tolist()
    reasons = {}
    for i in nearest_first:
        reasons[i] = why_rejected(candidates[i], parents, reference, config)
        if not reasons[i]:
            return Verdict(i, True, "")
    return Verdict(nearest_first[0], False, reasons[nearest_first[0]])


def why_rejected(
    candidate: Candidate,
    parents: Sequence[str],
    reference: ClassReference | LabelReference,
    config: GateConfig,
) -> Reason | Literal[""]:
    """The first check that a text fails, or "" if it passes all."""
    text = candidate.text
    if not words(text):
        return "empty"
    if config.reject_truncated and candidate.finish_reason != "stop":
        return "truncated"
    if repetition(text) > config.max_repetition:
        return "repetitive"
    if reference.holds(text):
        return "copy_of_corpus"
    if any(overlap(text, parent) > config.max_parent_overlap for parent in parents):
        return "copy_of_parent"
    if not candidate.cosine >= config.min_cosine:  # written so that NaN is rejected too
        return "low_similarity"
    if config.same_class and not candidate.right_class:
        return "wrong_class"
    if candidate.unclean and config.cleaning != "none":
        return REASON_OF_CLEANING[config.cleaning]
    return ""


def repetition(text: str) -> float:
    """Share of a text's word pairs that occurred in it before, in [0, 1].

    Examples
    --------
    >>> repetition("no no no no no")
    0.75
    """
    tokens = words(text)
    pairs = list(itertools.pairwise(tokens))
    return 1.0 - len(set(pairs)) / len(pairs) if pairs else 0.0


def overlap(text: str, other: str) -> float:
    """Share of the text's word 4-grams that also occur in the other text, in [0, 1].

    Shorter texts are compared as a single n-gram.
    """
    grams = _ngrams(words(text))
    return len(grams & _ngrams(words(other), len(next(iter(grams))))) / len(grams)


def _ngrams(tokens: list[str], n: int = NGRAM) -> set[tuple[str, ...]]:
    size = max(1, min(n, len(tokens)))
    return {tuple(tokens[i : i + size]) for i in range(max(1, len(tokens) - size + 1))}
