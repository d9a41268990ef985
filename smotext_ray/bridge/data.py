"""What a training step reads: the held-out split and the stream of batches, as row numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from smotext_ray.errors import UserError

POOL_BATCHES = 64  # texts are sorted by length within so many batches


class Task(NamedTuple):
    """What stage 2 learns from: an answer to a question about a background text."""

    background: str
    question: str
    answer: str


def split_held_out(
    n: int, held_out: int, texts_a_step: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Set rows aside; the same ones for the same number of texts and seed.

    Parameters
    ----------
    n : int
        Texts in all.
    held_out : int
        How many to set aside.
    texts_a_step : int
        At least so many must be left.
    seed : int

    Returns
    -------
    held_out, training : ndarrays of row numbers

    Raises
    ------
    UserError
        If there are too few texts.
    """
    if n < held_out + texts_a_step:
        raise UserError(
            f"Training needs at least {held_out + texts_a_step} texts "
            f"({held_out} held out and one step of {texts_a_step}); there are {n}."
        )
    order = np.random.default_rng([seed, 0]).permutation(n)
    return order[:held_out], order[held_out:]


def batch_stream(
    lengths: np.ndarray, batch_size: int, seed: int, first_step: int = 0
) -> Iterator[np.ndarray]:
    """Row numbers of batch after batch, from the batch of ``first_step`` on, without end.

    Each epoch is a new permutation; within pools of batches the rows are sorted by
    length, so that a batch holds texts of like length and little padding.

    Parameters
    ----------
    lengths : ndarray of shape (n,)
        Of the texts, in any unit.
    batch_size : int
        Texts of a whole step, over all workers.
    seed : int
    first_step : int, default=0

    Yields
    ------
    ndarray of shape (batch_size,)
    """
    per_epoch = len(lengths) // batch_size
    epoch, skip = divmod(first_step, per_epoch)
    while True:
        rng = np.random.default_rng([seed, 1, epoch])
        rows = rng.permutation(len(lengths))[: per_epoch * batch_size]
        size = POOL_BATCHES * batch_size
        pools = [rows[i : i + size] for i in range(0, len(rows), size)]
        ordered = np.concatenate([p[np.argsort(lengths[p], kind="stable")] for p in pools])
        batches = rng.permutation(ordered.reshape(per_epoch, batch_size))
        yield from batches[skip:]
        epoch, skip = epoch + 1, 0


def hash_texts(texts: Sequence[str]) -> str:
    """SHA-256 of texts in their order; tells whether two trainings read the same ones."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))  # or ("ab", "c") were ("a", "bc")
        digest.update(data)
    return digest.hexdigest()
