"""Random numbers of the plan: counter-based, so that a point's draws depend only on its index."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Draws:
    """Random numbers for a range of indices of a class.

    Attributes
    ----------
    u_source, u_neighbor : ndarray of float64, in [0, 1)
    lam : ndarray of float32, in [0, 1)
    decode_seed : ndarray of int64, in [0, 2**31)
    """

    u_source: NDArray[np.float64]
    u_neighbor: NDArray[np.float64]
    lam: NDArray[np.float32]
    decode_seed: NDArray[np.int64]


def draw(seed: int, label: Any, round_: int, start: int, stop: int) -> Draws:
    """Draw the random numbers of indices ``start`` to ``stop - 1`` of a class.

    Counter-based: index ``i`` owns block ``i`` of a Philox 4x64 stream whose key is a hash of seed,
    label (type and text) and round, so ``draw(..., 0, n)[a:b]`` is ``draw(..., a, b)`` [1]_.

    Returns
    -------
    Draws
        Arrays of length ``stop - start``.

    References
    ----------
    .. [1] Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011.
    """
    raw = _stream(start, stop, 1, seed, label, round_)
    source, neighbor, lam, decode = raw.T
    return Draws(
        u_source=_float64(source),
        u_neighbor=_float64(neighbor),
        lam=_float32(lam),
        decode_seed=(decode >> np.uint64(33)).astype(np.int64),
    )


def draw_others(
    seed: int, label: Any, round_: int, start: int, stop: int, others: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Random numbers for neighbors beyond the first: like `draw`, from a separate stream.

    Returns
    -------
    u_neighbor : ndarray of float64, shape (stop - start, others)
    lam : ndarray of float32, shape (stop - start, others)
    """
    blocks = max(1, math.ceil(others / 2))
    raw = _stream(start, stop, blocks, seed, label, round_, "others")
    return _float64(raw[:, :others]), _float32(raw[:, others : 2 * others])


def _stream(
    start: int, stop: int, blocks: int, seed: int, label: Any, round_: int, *what: str
) -> NDArray[np.uint64]:
    """``blocks`` Philox blocks of four numbers each for every index."""
    if isinstance(label, np.generic):  # a numpy label and its Python equivalent are the same class
        label = label.item()
    name = json.dumps([int(seed), type(label).__name__, str(label), int(round_), *what])
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    philox = np.random.Philox(key=key)
    philox.advance(start * blocks)
    return philox.random_raw(4 * blocks * (stop - start)).reshape(-1, 4 * blocks)


# As many high bits as the significand holds: exact, and never rounded up to 1.


def _float64(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _float32(raw: NDArray[np.uint64]) -> NDArray[np.float32]:
    return (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
