"""How much the choice of test rows matters, by a paired bootstrap over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from smotext_ray.evaluation.statistics import CONFIDENCE, Interval

DRAWS = 2000
MOST_COUNTS = 10_000_000  # at once: 80 MB


def paired_bootstrap(
    labels: Sequence[str],
    predicted: Sequence[Sequence[str]],
    others: Sequence[Sequence[str]],
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Difference in macro-F1 of two arms, with its 95% percentile interval over test rows.

    The training rows are taken as given; `statistics.interval` covers those. Every draw takes n
    test rows, with replacement, and scores both arms on the same ones [1]_. The macro average is
    over the classes of ``labels``; a class that a draw lacks counts 0 for both.

    Parameters
    ----------
    labels : sequence of str, length n
        True labels of the test rows.
    predicted, others : sequence over training draws of sequence of str, length n
        Predictions of each arm, in the same order of training draws; differences are averaged
        over these.
    draws : int, default=2000
    seed : int, default=0

    Returns
    -------
    Interval
        ``n`` is the number of test rows.

    References
    ----------
    .. [1] Efron, Tibshirani: An introduction to the bootstrap, chapter 13. Chapman and Hall,
       1993.

    Examples
    --------
    >>> labels = ["a", "b"] * 50
    >>> found = paired_bootstrap(labels, [labels], [["a"] * 100])
    >>> round(found.mean, 3), found.low > 0.5
    (0.667, True)
    """
    if len(predicted) != len(others) or not predicted:
        raise ValueError("Both arms need predictions of the same training draws.")

    def differences(times: np.ndarray) -> np.ndarray:
        own, other = (
            np.mean([_macro_f1(labels, guess, times) for guess in arm], axis=0)
            for arm in (predicted, others)
        )
        return np.asarray(own - other)

    mean = differences(np.ones((1, len(labels)), np.float32))[0]
    drawn = np.concatenate([differences(part) for part in _redrawn(len(labels), draws, seed)])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(mean), float(low), float(high), len(labels))


def standard_error(
    labels: Sequence[str], predicted: Sequence[str], draws: int = 200, seed: int = 0
) -> float:
    """Standard deviation of an arm's macro-F1 over bootstrap draws of its test rows.

    Parameters
    ----------
    labels, predicted : sequence of str, length n
    draws : int, default=200
    seed : int, default=0

    Examples
    --------
    >>> round(standard_error(["a"] * 50 + ["b"] * 2, ["a"] * 50 + ["b"] * 2), 6)
    0.0
    """
    # Each row counts at least a little: otherwise a class that a draw lacks would count 0.
    few = np.float32(1e-6)
    parts = [_macro_f1(labels, predicted, t + few) for t in _redrawn(len(labels), draws, seed)]
    return float(np.std(np.concatenate(parts)))


def _redrawn(n: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n rows is in a draw of n rows with replacement, in batches of draws."""
    rng, at_once = np.random.default_rng(seed), max(1, MOST_COUNTS // n)
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        yield rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float32)


def _macro_f1(labels: Sequence[str], predicted: Sequence[str], times: np.ndarray) -> np.ndarray:
    """Macro-F1 where row i counts ``times[draw, i]``-fold, shape (draws,)."""
    classes = np.unique(np.asarray(labels, dtype=str))
    truth = np.asarray(labels, dtype=str)[:, None] == classes
    guess = np.asarray(predicted, dtype=str)[:, None] == classes
    hits, sizes = times @ (truth & guess), times @ truth + times @ guess
    return np.asarray(np.mean(2 * hits / np.where(sizes > 0, sizes, 1), axis=1))
