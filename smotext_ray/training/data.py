"""Rows of a training: the held-out split, the rows of each step, and their batches.

This is all arithmetic on row numbers and lengths. The rows of a step depend only on the texts, the
seed and the step; how they are split into batches and assigned to workers does not change what is
learned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from smotext_ray.errors import UserError

POOL_STEPS = 32  # number of steps whose texts are sorted and dealt together
HAND = 512  # positions per hand, whose rows share a batch almost without padding


class Task(NamedTuple):
    """A training example of stage 2: an answer to a question about a background text."""

    background: str
    question: str
    answer: str


class Preference(NamedTuple):
    """A training example of stage 3: two texts decoded from the same point.

    Attributes
    ----------
    chosen, rejected : str
        The text whose embedding is close to the point, and one whose embedding is not.
    point : ndarray of shape (encoder_dim,), float32
    style : ndarray of shape (SIZE,), float32
        What both should look like; see `smotext_ray.models.style`.
    """

    chosen: str
    rejected: str
    point: np.ndarray
    style: np.ndarray


def split_held_out(n: int, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold out random rows, which depend only on the number of texts and the seed.

    Parameters
    ----------
    n : int
        Number of texts.
    held_out : int
        Number of texts to hold out.
    seed : int

    Returns
    -------
    held_out, training : ndarrays of row numbers

    Raises
    ------
    UserError
        If no text would be left to train on.
    """
    if n <= held_out:
        raise UserError(
            f"Training needs more than the {held_out} held-out texts, but there are {n}; "
            "give more texts or a smaller --held-out."
        )
    order = np.random.default_rng([seed, 0]).permutation(n)
    return order[:held_out], order[held_out:]


def pick_evenly(classes: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Pick random rows, the same number per class as far as possible.

    Parameters
    ----------
    classes : ndarray of shape (rows,)
    n : int
    seed : int

    Returns
    -------
    ndarray of row numbers, of shape (min(n, rows),)
    """
    order = np.random.default_rng([seed, 0]).permutation(len(classes))
    turn = np.empty(len(order), dtype=np.int64)  # each row's position within its class
    for one in np.unique(classes):
        of_class = np.flatnonzero(classes[order] == one)
        turn[of_class] = np.arange(len(of_class))
    return order[np.argsort(turn, kind="stable")][:n]


def step_stream(
    tokens: np.ndarray,
    positions: np.ndarray,
    tokens_per_step: int,
    seed: int,
    first_step: int = 0,
) -> Iterator[list[np.ndarray]]:
    """Yield the row numbers of each step from ``first_step`` on, forever.

    Each epoch is a new permutation of all rows. Within pools of ``POOL_STEPS`` steps the rows are
    sorted by length, cut into hands of equal length and dealt like cards, so that every step has
    the same mix of short and long texts: their gradients point in different directions, and a step
    with a single length would undo part of the previous step.

    Parameters
    ----------
    tokens : ndarray of shape (n,)
        Number of tokens with a loss in each text.
    positions : ndarray of shape (n,)
        Positions that each text takes in the LLM.
    tokens_per_step : int
        Approximate number of tokens per step; all of them if there are fewer.
    seed : int
    first_step : int, default=0

    Yields
    ------
    list of ndarrays of row numbers
        The hands of a step; rows within a hand have similar lengths.
    """
    epoch, skip = 0, first_step
    while True:
        rng = np.random.default_rng([seed, 1, epoch])
        steps = _epoch(tokens, positions, tokens_per_step, rng)
        yield from steps[skip:]
        epoch, skip = epoch + 1, max(0, skip - len(steps))


def _epoch(
    tokens: np.ndarray, positions: np.ndarray, tokens_per_step: int, rng: np.random.Generator
) -> list[list[np.ndarray]]:
    rows = rng.permutation(len(tokens))
    pools = max(1, round(int(tokens.sum()) / (POOL_STEPS * tokens_per_step)))
    steps: list[list[np.ndarray]] = []
    for pool in np.array_split(rows, pools):
        count = max(1, round(int(tokens[pool].sum()) / tokens_per_step))
        # An even number per step, so that two workers can share them equally.
        hands = cut(pool, positions, HAND, 2 * count)
        # Each run of `count` hands of similar length is spread over the steps at random.
        shuffled = np.argsort(np.arange(len(hands)) // count + rng.random(len(hands)))
        steps += [[hands[i] for i in shuffled[step::count]] for step in range(count)]
    order = rng.permutation(len(steps))
    return [steps[number] for number in order if steps[number]]


def cut(rows: np.ndarray, positions: np.ndarray, most: int, multiple: int = 1) -> list[np.ndarray]:
    """Cut rows into parts of similar lengths and equal size.

    Parameters
    ----------
    rows : ndarray of row numbers
    positions : ndarray of shape (n,)
        Positions that each row takes in the LLM, for all rows.
    most : int
        Maximum positions per part, padding included. A longer row is a part by itself.
    multiple : int, default=1
        Make the number of parts a multiple of this, if there are enough rows.

    Returns
    -------
    list of ndarrays of row numbers
        Longest rows first.
    """
    rows = rows[np.argsort(-positions[rows], kind="stable")]
    sizes = positions[rows]
    count = -(-len(_starts(sizes, most)) // multiple) * multiple
    # The smallest limit that needs no more parts balances them.
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if len(_starts(sizes, middle)) > count else (low, middle)
    return np.split(rows, _starts(sizes, low)[1:])


def _starts(sizes: np.ndarray, most: int) -> list[int]:
    """Start indices of parts, each filled greedily; ``sizes`` are descending."""
    starts = [0]
    while (end := starts[-1] + max(1, int(most // sizes[starts[-1]]))) < len(sizes):
        starts.append(end)
    return starts


def micro_batches(
    hands: Sequence[np.ndarray], positions: np.ndarray, most: int, workers: int = 1
) -> list[np.ndarray]:
    """Join or cut the hands of a step into batches.

    Parameters
    ----------
    hands : sequence of ndarrays of row numbers
    positions : ndarray of shape (n,)
        Positions that each row takes in the LLM, for all rows.
    most : int
        Maximum positions per batch, padding included.
    workers : int, default=1
        Batches are small enough that each worker gets one.

    Returns
    -------
    list of ndarrays of row numbers
    """
    most = min(most, -(-sum(padded(hand, positions) for hand in hands) // workers))
    batches: list[np.ndarray] = []
    for hand in sorted(hands, key=lambda hand: -positions[hand].max()):
        joined = np.concatenate([*batches[-1:], hand])
        if padded(joined, positions) <= most:
            batches[-1:] = [joined]
        else:
            batches += cut(hand, positions, most)
    return batches


def padded(batch: np.ndarray, positions: np.ndarray) -> int:
    """Positions that a batch of rows takes in the LLM, padding included."""
    return int(len(batch) * positions[batch].max())


def hash_texts(texts: Sequence[str]) -> str:
    """SHA-256 of texts in order, to check that two trainings use the same ones."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(
            len(data).to_bytes(8, "little")
        )  # otherwise ("ab", "c") would equal ("a", "bc")
        digest.update(data)
    return digest.hexdigest()
