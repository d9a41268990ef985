"""Diversity of texts, measured the same way for synthetic and real ones.

All of these metrics depend on the amount of text, so both sides are first cut to the same size:
for distinct-n to the same total number of words, for self-BLEU and type-token to texts of equal
length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from smotext_ray.evaluation.checks import TooFewTexts
from smotext_ray.evaluation.ngrams import ngrams
from smotext_ray.evaluation.statistics import Spread, spread
from smotext_ray.utils.text import words

BLEU_SAMPLE = 200  # texts


@dataclass(frozen=True)
class Diversity:
    """Diversity of one set of texts.

    Attributes
    ----------
    texts : int
    words_compared : int
        Number of words behind ``distinct``.
    distinct_1, distinct_2, distinct_3 : float in [0, 1], or None
        Distinct over total word n-grams; None if no text is long enough.
    length_compared : int
        Number of words behind each text of ``self_bleu`` and ``type_token``: the smaller median of
        the two sides. Longer texts are cut to it, and shorter ones left out.
    self_bleu : float, in [0, 100]
    self_bleu_texts : int
        Number of texts behind ``self_bleu``.
    type_token : float, in (0, 1]
        Distinct over total words of a text, averaged over texts.
    length : Spread
        In words.
    """

    texts: int
    words_compared: int
    distinct_1: float | None
    distinct_2: float | None
    distinct_3: float | None
    length_compared: int
    self_bleu: float
    self_bleu_texts: int
    type_token: float
    length: Spread

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self)


@dataclass(frozen=True)
class DiversityComparison:
    """The same metrics for both sides.

    Attributes
    ----------
    real, synthetic : Diversity
    """

    real: Diversity
    synthetic: Diversity

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self)


def compare_diversity(
    real: Sequence[str], synthetic: Sequence[str], seed: int = 0
) -> DiversityComparison:
    """Diversity of real and synthetic texts, for equal numbers of words and texts.

    Parameters
    ----------
    real, synthetic : sequence of str
        At least two each; texts without words are ignored.
    seed : int
        Seed for choosing what to drop from the larger side.

    Raises
    ------
    TooFewTexts
        If either side has fewer than two texts with words.
    """
    sides = [[text for text in side if words(text)] for side in (real, synthetic)]
    if min(map(len, sides)) < 2:
        raise TooFewTexts("Diversity needs two real and two synthetic texts with words.")
    total = min(sum(len(words(text)) for text in side) for side in sides)
    length = min(_lower_median([len(words(text)) for text in side]) for side in sides)
    even = [_of_length(side, length) for side in sides]
    sample = min(BLEU_SAMPLE, *map(len, even))
    return DiversityComparison(
        *(_diversity(*both, total, sample, seed) for both in zip(sides, even, strict=True))
    )


def distinct_by_class(
    sides: Mapping[str, tuple[Sequence[str], Sequence[str]]], n: int = 2, seed: int = 0
) -> dict[str, float]:
    """Distinct-n within classes, averaged over them, so that sets of texts can be compared.

    Parameters
    ----------
    sides : mapping of str to (texts, labels)
        Only classes with words on every side count; in these, each side is cut to the same number
        of words.
    n : int, default=2
    seed : int
        Seed for choosing what to drop.

    Returns
    -------
    dict of str to float, in (0, 1]
        Empty if no class has n-grams on every side.
    """
    texts = {
        name: {k: [t for t, own in zip(*side, strict=True) if own == k] for k in set(side[1])}
        for name, side in sides.items()
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    for label in sorted(set.intersection(*(set(of) for of in texts.values()))):
        total = min(sum(len(words(t)) for t in of[label]) for of in texts.values())
        shares = {
            name: distinct_n(_cut(of[label], total, seed), n) if total else None
            for name, of in texts.items()
        }
        for name, share in shares.items():
            if share is not None and None not in shares.values():
                found[name].append(share)
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def distinct_n(texts: Sequence[str], n: int) -> float | None:
    """Distinct over total word n-grams, in (0, 1] [1]_; None if there are none.

    N-grams do not span texts.

    References
    ----------
    .. [1] Li, Galley, Brockett, Gao, Dolan: A diversity-promoting objective function for
       neural conversation models. NAACL 2016.

    Examples
    --------
    >>> distinct_n(["a rose is a rose", "is a rose"], 2)
    0.5
    """
    if n < 1:
        raise ValueError(f"n must be 1 or more, not {n}.")
    grams = [gram for text in texts for gram in ngrams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else None


def type_token(text: str) -> float:
    """Distinct over total words of a text, in (0, 1]; the text must have words."""
    tokens = words(text)
    return len(set(tokens)) / len(tokens)


def self_bleu(texts: Sequence[str], sample: int = BLEU_SAMPLE, seed: int = 0) -> float:
    """Mean BLEU of each text against all others, in [0, 100]; high means repetitive [1]_.

    Uses sacrebleu's tokenization, smoothing and effective order. It rises with the number of texts:
    compare equal numbers only.

    Parameters
    ----------
    texts : sequence of str, two or more
    sample : int
        Maximum number of texts, drawn without replacement.
    seed : int

    References
    ----------
    .. [1] Zhu, Lu, Zheng, Guo, Zhang, Wang, Yu: Texygen: a benchmarking platform for text
       generation models. SIGIR 2018.
    """
    if min(len(texts), sample) < 2:
        raise ValueError("Self-BLEU needs two texts.")
    from sacrebleu.metrics import BLEU

    drawn = np.random.default_rng(seed).permutation(len(texts))[:sample]
    tokenizer = BLEU().tokenizer
    tokens = [tokenizer(texts[i].rstrip()).split() for i in np.sort(drawn)]
    return float(np.mean(_scores_against_others(tokens)))


def _scores_against_others(texts: list[list[str]]) -> list[float]:
    """BLEU of each text with all others as references.

    The count of an n-gram is capped at the highest count in a reference. The two highest counts of
    each n-gram, and the text with the highest, give that for any text left out; recounting the
    references for each text takes minutes.
    """
    from sacrebleu.metrics import BLEU

    orders = range(1, BLEU().max_ngram_order + 1)
    counts = [Counter(gram for n in orders for gram in ngrams(text, n)) for text in texts]
    most = _two_highest(counts)
    scores = []
    for i, (text, grams) in enumerate(zip(texts, counts, strict=True)):
        correct = [0] * len(orders)
        for gram, count in grams.items():
            owner, first, second = most[gram]
            correct[len(gram) - 1] += min(count, second if owner == i else first)
        others = (len(other) for j, other in enumerate(texts) if j != i)
        nearest = min(others, key=lambda length: (abs(length - len(text)), length))
        total = [max(0, len(text) - n + 1) for n in orders]
        score = BLEU.compute_bleu(
            correct, total, len(text), nearest, smooth_method="exp", effective_order=True
        )
        scores.append(float(score.score))
    return scores


def _two_highest(
    counts: list[Counter[tuple[str, ...]]],
) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """Per n-gram: the text with the highest count, that count, and the next highest count."""
    most: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for i, grams in enumerate(counts):
        for gram, count in grams.items():
            owner, first, second = most.get(gram, (-1, 0, 0))
            if count > first:
                most[gram] = (i, count, first)
            elif count > second:
                most[gram] = (owner, first, count)
    return most


def _diversity(
    texts: list[str], even: list[str], total_words: int, sample: int, seed: int
) -> Diversity:
    compared = _cut(texts, total_words, seed)
    return Diversity(
        texts=len(texts),
        words_compared=total_words,
        distinct_1=distinct_n(compared, 1),
        distinct_2=distinct_n(compared, 2),
        distinct_3=distinct_n(compared, 3),
        length_compared=len(words(even[0])),
        self_bleu=self_bleu(even, sample, seed),
        self_bleu_texts=sample,
        type_token=float(np.mean([type_token(text) for text in even])),
        length=spread([len(words(text)) for text in texts]),
    )


def _lower_median(lengths: list[int]) -> int:
    """The lower median; of two or more lengths, at least two are no smaller."""
    return sorted(lengths)[(len(lengths) - 1) // 2]


def _of_length(texts: list[str], length: int) -> list[str]:
    """The first ``length`` words of the texts that have at least that many."""
    split = (words(text) for text in texts)
    return [" ".join(tokens[:length]) for tokens in split if len(tokens) >= length]


def _cut(texts: list[str], total_words: int, seed: int) -> list[str]:
    """Random texts up to ``total_words`` words in total; the last one is cut short."""
    cut = []
    for i in np.random.default_rng(seed).permutation(len(texts)):
        tokens = words(texts[i])[:total_words]
        total_words -= len(tokens)
        cut.append(" ".join(tokens))
        if not total_words:
            break
    return cut
