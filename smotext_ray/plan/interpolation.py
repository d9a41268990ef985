"""Points between embeddings; every row is computed on its own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smotext_ray.plan.vectors import row_sums

Interpolation = Literal["lerp", "slerp"]

# Angles this near to 0 or to pi leave the great circle between two vectors undefined.
ANGLE_TOLERANCE = 1e-6
BLOCK_ROWS = 128  # stays in a core's cache


def interpolate(
    x: NDArray[np.float32],
    neighbor: NDArray[np.float32],
    lam: NDArray[np.float32],
    how: Interpolation,
    unit_norm: bool,
) -> NDArray[np.float32]:
    """Points between rows and their neighbours.

    Parameters
    ----------
    x, neighbor : ndarray of float32, shape (n, d)
    lam : ndarray of float32, shape (n,)
        0 is at ``x``, 1 at ``neighbor``, below 0 beyond ``x``.
    how : {"lerp", "slerp"}
        A straight line, ``x + lam * (neighbor - x)``, as SMOTE has it [1]_; or the great
        circle between the directions [2]_, with lengths interpolated linearly. Nearly
        parallel vectors and zeros fall back to the line. Opposite vectors have no one
        great circle: the one by way of the axis most at right angles to ``x`` is taken.
    unit_norm : bool
        Rescale the points to length 1, for an encoder that does so: the bridge has seen
        nothing else. A point that falls on the origin becomes ``x``.

    Returns
    -------
    ndarray of float32, shape (n, d)
        Computed in float64, each row on its own.

    References
    ----------
    .. [1] Chawla, Bowyer, Hall, Kegelmeyer: SMOTE: synthetic minority over-sampling
       technique. JAIR 16, 2002.
    .. [2] Shoemake: Animating rotation with quaternion curves. SIGGRAPH 1985.

    Examples
    --------
    >>> x, neighbor = np.float32([[1, 0]]), np.float32([[0, 1]])
    >>> interpolate(x, neighbor, np.float32([0.5]), "lerp", unit_norm=False).tolist()
    [[0.5, 0.5]]
    """
    if how not in ("lerp", "slerp"):
        raise ValueError(f"how must be 'lerp' or 'slerp', not {how!r}.")
    points = np.empty(x.shape, np.float32)
    for start in range(0, len(x), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        points[block] = _between(x[block], neighbor[block], lam[block], how, unit_norm)
    return points


def mix(
    x: NDArray[np.float32],
    neighbors: NDArray[np.float32],
    lam: NDArray[np.float32],
    unit_norm: bool,
) -> NDArray[np.float32]:
    """Points among rows and several neighbours of each: ``x + sum_j lam_j * (nn_j - x)``.

    Parameters
    ----------
    x : ndarray of float32, shape (n, d)
    neighbors : ndarray of float32, shape (n, j, d)
    lam : ndarray of float32, shape (n, j)
    unit_norm : bool
        As for `interpolate`, which this is for one neighbour.

    Returns
    -------
    ndarray of float32, shape (n, d)

    Examples
    --------
    >>> x, neighbors = np.float32([[0, 0]]), np.float32([[[4, 0], [0, 4]]])
    >>> mix(x, neighbors, np.float32([[0.5, 0.25]]), unit_norm=False).tolist()
    [[2.0, 1.0]]
    """
    points = np.empty(x.shape, np.float32)
    for start in range(0, len(x), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        a, t = x[block].astype(np.float64), lam[block].astype(np.float64)
        mixed = a.copy()
        for j in range(t.shape[1]):
            mixed += t[:, j, None] * (neighbors[block, j] - a)
        points[block] = _to_length_one(mixed, a) if unit_norm else mixed
    return points


def beta_lam(u: NDArray[np.float32], alpha: float) -> NDArray[np.float32]:
    """Weights by the Beta(alpha, alpha) law, as mixup draws them [1]_; by inversion, one a number.

    Parameters
    ----------
    u : ndarray of float32, shape (n,), in [0, 1)
        Uniform random numbers.
    alpha : float
        Above 0. At 1 the weights are ``u`` themselves.

    Returns
    -------
    ndarray of float32, shape (n,), in [0, 1]

    References
    ----------
    .. [1] Zhang, Cisse, Dauphin, Lopez-Paz: mixup: beyond empirical risk minimization. ICLR
       2018.

    Examples
    --------
    >>> beta_lam(np.float32([0.0, 0.25, 0.5]), 1.0).tolist()
    [0.0, 0.25, 0.5]
    >>> beta_lam(np.float32([0.0, 0.25, 0.5]), 2.0).round(3).tolist()
    [0.0, 0.326, 0.5]
    """
    return u if alpha == 1 else _beta(u, alpha, alpha).astype(np.float32)


def dirichlet_lam(u: NDArray[np.float32], alpha: float) -> NDArray[np.float32]:
    """Weights of several neighbours by the law Dirichlet(alpha, ..., alpha).

    The law has a part for each neighbour and one for the row itself, which is what is left.
    Mixup's authors name it for more than two examples [1]_; with one neighbour it is that
    of `beta_lam`. A stick is broken, each time by inversion [2]_.

    Parameters
    ----------
    u : ndarray of float32, shape (n, j), in [0, 1)
        Uniform random numbers.
    alpha : float
        Above 0. At 1 all mixtures are equally likely.

    Returns
    -------
    ndarray of float32, shape (n, j), in [0, 1]
        No row sums to more than 1, but for rounding.

    References
    ----------
    .. [1] Zhang, Cisse, Dauphin, Lopez-Paz: mixup: beyond empirical risk minimization. ICLR
       2018, section 2.
    .. [2] Devroye: Non-uniform random variate generation. Springer 1986, chapter XI.4.

    Examples
    --------
    >>> dirichlet_lam(np.float32([[0.0, 0.5], [0.75, 0.5]]), 1.0).tolist()
    [[0.0, 0.5], [0.5, 0.25]]
    """
    left, parts = np.ones(len(u)), u.shape[1]
    lam = np.empty(u.shape, np.float32)
    for j in range(parts):
        broken = left * _beta(u[:, j], alpha, alpha * (parts - j))
        lam[:, j] = broken
        left = left - broken
    return lam


def _beta(u: NDArray[np.float32], a: float, b: float) -> NDArray[np.float64]:
    from scipy.special import betaincinv

    return np.asarray(betaincinv(a, b, u.astype(np.float64)))


def _between(
    x: NDArray[np.float32],
    neighbor: NDArray[np.float32],
    lam: NDArray[np.float32],
    how: Interpolation,
    unit_norm: bool,
) -> NDArray[np.float64]:
    a, b = np.asarray(x, dtype=np.float64), np.asarray(neighbor, dtype=np.float64)
    t = np.asarray(lam, dtype=np.float64)[:, None]
    points = a + t * (b - a) if how == "lerp" else _slerp(a, b, t)
    return _to_length_one(points, a) if unit_norm else points


def _to_length_one(points: NDArray[np.float64], a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points on the unit sphere; what falls on the origin is ``a``."""
    points = np.where(_lengths(points) < 1e-9, a, points)
    lengths = _lengths(points)
    return np.asarray(points / np.where(lengths == 0, 1.0, lengths))


def _lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(row_sums(np.square(rows)))[:, None])


def _slerp(
    a: NDArray[np.float64], b: NDArray[np.float64], t: NDArray[np.float64]
) -> NDArray[np.float64]:
    length_a, length_b = _lengths(a), _lengths(b)
    zero = (length_a == 0) | (length_b == 0)
    u = a / np.where(length_a == 0, 1.0, length_a)
    v = b / np.where(length_b == 0, 1.0, length_b)
    # Accurate for all angles, unlike the arc cosine. numpy's own sine may change in the last
    # bit with the length of the array; math's does not.
    halves = zip(_lengths(u - v).flat, _lengths(u + v).flat, strict=True)
    angle = _column(2 * math.atan2(minus, plus) for minus, plus in halves)
    opposite = (np.pi - angle < ANGLE_TOLERANCE) & ~zero
    if opposite.any():
        # Turn by pi through a right angle to u: cos(pi t) u + sin(pi t) w.
        v = np.where(opposite, _right_angle(u), v)
        angle = np.where(opposite, np.pi / 2, angle)
    parallel = angle < ANGLE_TOLERANCE
    turn = np.where(opposite, 2 * t, t) * angle
    below = np.where(parallel, 1.0, _sines(angle))
    weight_u = np.where(parallel, 1 - t, _sines(angle - turn) / below)
    weight_v = np.where(parallel, t, _sines(turn) / below)
    # A way beyond ``a``, away from a vector three times as long, would end below zero.
    lengths = np.maximum(length_a + t * (length_b - length_a), 0)
    curved = (weight_u * u + weight_v * v) * lengths
    return np.where(zero, a + t * (b - a), curved)


def _right_angle(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """A unit vector at right angles to each row; zeros where there is one dimension only."""
    axis = np.abs(u).argmin(axis=1)[:, None]
    along = np.take_along_axis(u, axis, axis=1)
    w = -along * u
    np.put_along_axis(w, axis, np.take_along_axis(w, axis, axis=1) + 1, axis=1)
    lengths = _lengths(w)
    return w / np.where(lengths == 0, 1.0, lengths)


def _sines(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    return _column(math.sin(angle) for angle in angles.flat)


def _column(values: Iterable[float]) -> NDArray[np.float64]:
    return np.fromiter(values, dtype=np.float64)[:, None]
