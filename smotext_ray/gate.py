"""The gate: is a decoded text near its point, of its class, new, and well formed?

Pure numpy; the embeddings of the texts come from outside. The class of a text is that
of the nearest class mean in the metric of the pooled within-class covariance: linear
discriminant analysis with equal priors (Fisher, 1936), whose sums can be taken in one
pass over any number of rows.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smotext_ray.config import GateConfig

NGRAM = 4  # words; what two texts must share to be called copies
REASON_OF_CLEANING = {"none": "", "enn": "other_neighbors", "tomek": "tomek_link"}


@dataclass(frozen=True)
class ClassReference:
    """What the gate knows of the corpus.

    Attributes
    ----------
    means : ndarray of shape (classes, d), float32
        Class means, whitened.
    whitener : ndarray of shape (d, d), float32
        Brings embeddings to unit within-class covariance.
    fingerprints : ndarray of shape (rows,), int64, sorted
        Of the corpus texts.
    """

    means: np.ndarray
    whitener: np.ndarray
    fingerprints: np.ndarray

    def nearest_class(self, embeddings: np.ndarray) -> np.ndarray:
        """Row number in ``means`` of the class nearest to each embedding, int64."""
        whitened = embeddings @ self.whitener
        # ||w - m||^2 without the term that all classes share.
        return np.argmin((self.means**2).sum(1)[None, :] - 2.0 * whitened @ self.means.T, axis=1)

    def holds(self, text: str) -> bool:
        """Whether the corpus holds this text, but for case and white space."""
        wanted = fingerprint(text)
        at = int(np.searchsorted(self.fingerprints, wanted))
        return at < len(self.fingerprints) and int(self.fingerprints[at]) == wanted


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


def class_reference(
    counts: np.ndarray, sums: np.ndarray, scatter: np.ndarray, fingerprints: np.ndarray
) -> ClassReference:
    """Make the reference of sums over the corpus.

    Parameters
    ----------
    counts : ndarray of shape (classes,)
    sums : ndarray of shape (classes, d), float64
        Of the embeddings of each class.
    scatter : ndarray of shape (d, d), float64
        Sum of the outer products of all embeddings with themselves.
    fingerprints : ndarray of int64
        Of the corpus texts, in any order.
    """
    means = sums / counts[:, None]
    within = (scatter - (means * counts[:, None]).T @ means) / counts.sum()
    d = len(within)
    # Few rows say little about d x d numbers: the covariance is drawn to a multiple of the
    # identity as if d more rows had been seen that vary alike in all directions.
    shrinkage = d / (d + counts.sum())
    shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / d * np.eye(d)
    values, vectors = np.linalg.eigh(shrunk)
    whitener = vectors / np.sqrt(np.maximum(values, 1e-12))
    return ClassReference(
        means=(means @ whitener).astype(np.float32),
        whitener=whitener.astype(np.float32),
        fingerprints=np.unique(fingerprints),
    )


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

    Reasons are ``empty``, ``cut_off``, ``repetitive``, ``copy_of_corpus``,
    ``copy_of_parent``, ``far_from_point``, ``other_class``, ``other_neighbors``,
    ``tomek_link``.
    """
    if not words(text):
        return "empty"
    if config.reject_cut_off and finish_reason != "stop":
        return "cut_off"
    if repetition(text) > config.max_repetition:
        return "repetitive"
    if reference.holds(text):
        return "copy_of_corpus"
    if any(overlap(text, parent) > config.max_parent_overlap for parent in parents):
        return "copy_of_parent"
    if not cosine >= config.min_cosine:  # so written that NaN is far, too
        return "far_from_point"
    if config.same_class and not right_class:
        return "other_class"
    return REASON_OF_CLEANING[config.cleaning] if unclean else ""


def words(text: str) -> list[str]:
    """Words of a text, lower case, without punctuation."""
    return re.findall(r"\w+", text.casefold())


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


def fingerprint(text: str) -> int:
    """64-bit hash of a text without regard to case and white space; fits int64."""
    normal = " ".join(text.casefold().split())
    digest = hashlib.blake2b(normal.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _ngrams(tokens: list[str], n: int = NGRAM) -> set[tuple[str, ...]]:
    size = max(1, min(n, len(tokens)))
    return {tuple(tokens[i : i + size]) for i in range(max(1, len(tokens) - size + 1))}
