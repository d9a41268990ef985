"""The gate: is a decoded text near its point, of its class, new, and well formed?

Pure numpy; the embeddings of the texts come from outside. The class of a text is that
of the nearest class mean in the metric of the pooled within-class covariance: linear
discriminant analysis with equal priors (Fisher, 1936), whose sums can be taken in one
pass over any number of rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smotext_ray.config.schema import GateConfig
from smotext_ray.gate.reasons import REASON_OF_CLEANING
from smotext_ray.gate.reference import ClassReference
from smotext_ray.utils.text import words

NGRAM = 4  # words; what two texts must share to be called copies


@dataclass(frozen=True)
class Verdict:
    """The gate's word on one point.

    Attributes
    ----------
    chosen : int
        Which candidate is kept.
    accepted : bool
    reason : str
        Why not; empty where accepted.
    """

    chosen: int
    accepted: bool
    reason: str


def judge(
    texts: Sequence[str],
    finish_reasons: Sequence[str],
    cosines: np.ndarray,
    right_class: np.ndarray,
    unclean: np.ndarray,
    parents: Sequence[str],
    reference: ClassReference,
    config: GateConfig,
) -> Verdict:
    """Choose among a point's candidates.

    Of those that pass every check the one nearest to the point is kept; where none
    passes, the nearest of all, with its reason.

    Parameters
    ----------
    texts, finish_reasons : sequence of str, length n
    cosines : ndarray of shape (n,)
        Of each text's embedding to the point.
    right_class : ndarray of shape (n,), bool
        Whether the text is nearest to its own class.
    unclean : ndarray of shape (n,), bool
        Whether ``config.cleaning`` would remove the text from the corpus.
    parents : sequence of str
        The two texts that the point lies between.
    reference : ClassReference
    config : GateConfig

    Returns
    -------
    Verdict
    """
    nearest_first = np.argsort(-cosines, kind="stable")
    reasons = {}
    for i in map(int, nearest_first):
        reasons[i] = why_rejected(
            texts[i],
            finish_reasons[i],
            float(cosines[i]),
            bool(right_class[i]),
            bool(unclean[i]),
            parents,
            reference,
            config,
        )
        if not reasons[i]:
            return Verdict(i, True, "")
    return Verdict(int(nearest_first[0]), False, reasons[int(nearest_first[0])])


def why_rejected(
    text: str,
    finish_reason: str,
    cosine: float,
    right_class: bool,
    unclean: bool,
    parents: Sequence[str],
    reference: ClassReference,
    config: GateConfig,
) -> str:
    """The first check that a text fails: a reason, or "" for none.

    Reasons are ``empty``, ``truncated``, ``repetitive``, ``copy_of_corpus``,
    ``copy_of_parent``, ``low_similarity``, ``wrong_class``, ``other_neighbors``,
    ``tomek_link``.
    """
    if not words(text):
        return "empty"
    if config.reject_truncated and finish_reason != "stop":
        return "truncated"
    if repetition(text) > config.max_repetition:
        return "repetitive"
    if reference.holds(text):
        return "copy_of_corpus"
    if any(overlap(text, parent) > config.max_parent_overlap for parent in parents):
        return "copy_of_parent"
    if not cosine >= config.min_cosine:  # so written that NaN is far, too
        return "low_similarity"
    if config.same_class and not right_class:
        return "wrong_class"
    return REASON_OF_CLEANING[config.cleaning] if unclean else ""


def repetition(text: str) -> float:
    """Share of a text's word pairs that stood in it before, in [0, 1].

    Examples
    --------
    >>> repetition("no no no no no")
    0.75
    """
    tokens = words(text)
    pairs = list(itertools.pairwise(tokens))
    return 1.0 - len(set(pairs)) / len(pairs) if pairs else 0.0


def overlap(text: str, other: str) -> float:
    """Share of the text's word 4-grams that the other text holds too, in [0, 1].

    Shorter texts are compared as one gram.
    """
    grams = _ngrams(words(text))
    return len(grams & _ngrams(words(other), len(next(iter(grams))))) / len(grams)


def _ngrams(tokens: list[str], n: int = NGRAM) -> set[tuple[str, ...]]:
    size = max(1, min(n, len(tokens)))
    return {tuple(tokens[i : i + size]) for i in range(max(1, len(tokens) - size + 1))}
