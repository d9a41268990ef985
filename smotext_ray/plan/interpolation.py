"""Points between embeddings; every row is computed independently."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smotext_ray.plan.vectors import row_sums

Interpolation = Literal["lerp", "slerp"]

# For angles this close to 0 or pi, the great circle between two vectors is undefined.
ANGLE_TOLERANCE = 1e-6
BLOCK_ROWS = 128  # fits in a core's cache


def interpolate(
    x: NDArray[np.float32],
    neighbor: NDArray[np.float32],
    lam: NDArray[np.float32],
    how: Interpolation,
    unit_norm: bool,
) -> NDArray[np.float32]:
    """Interpolate between rows and their neighbors.

    Parameters
    ----------
    x, neighbor : ndarray of float32, shape (n, d)
    lam : ndarray of float32, shape (n,)
        0 is ``x``, 1 is ``neighbor``, negative values extrapolate beyond ``x``.
    how : {"lerp", "slerp"}
        A straight line, ``x + lam * (neighbor - x)``, as in SMOTE [1]_; or the great circle between
        the directions [2]_, with lengths interpolated linearly. Nearly parallel vectors and zeros
        fall back to the line. Opposite vectors have no unique great circle: the one through the
        axis most orthogonal to ``x`` is used.
    unit_norm : bool
        Normalize the points to length 1, as the encoder does: the bridge has seen nothing else. A
        point at the origin becomes ``x``.

    Returns
    -------
    ndarray of float32, shape (n, d)
        Computed in float64, each row independently.

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
    """Mix rows with several neighbors each: ``x + sum_j lam_j * (nn_j - x)``.

    Parameters
    ----------
    x : ndarray of float32, shape (n, d)
    neighbors : ndarray of float32, shape (n, j, d)
    lam : ndarray of float32, shape (n, j)
    unit_norm : bool
        As in `interpolate`, which is equivalent for one neighbor.

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
    """Weights from Beta(alpha, alpha), as in mixup [1]_; by inversion, one per number.

    Parameters
    ----------
    u : ndarray of float32, shape (n,), in [0, 1)
        Uniform random numbers.
    alpha : float
        Positive. At 1 the weights are ``u`` itself.

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
    """Weights of several neighbors from Dirichlet(alpha, ..., alpha).

    The distribution has one component per neighbor and one for the row itself, the remainder.
    Mixup's authors suggest it for more than two examples [1]_; with one neighbor it equals
    `beta_lam`. Sampled by stick breaking, each step by inversion [2]_.

    Parameters
    ----------
    u : ndarray of float32, shape (n, j), in [0, 1)
        Uniform random numbers.
    alpha : float
        Positive. At 1 all mixtures are equally likely.

    Returns
    -------
    ndarray of float32, shape (n, j), in [0, 1]
        No row sums to more than 1, up to rounding.

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
    """Normalize points to the unit sphere; points at the origin become ``a``."""
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
    # Accurate for all angles, unlike the arc cosine. The last bit of numpy's sine may depend on the
    # length of the array; math's does not.
    halves = zip(_lengths(u - v).flat, _lengths(u + v).flat, strict=True)
    angle = _column(2 * math.atan2(minus, plus) for minus, plus in halves)
    opposite = (np.pi - angle < ANGLE_TOLERANCE) & ~zero
    if opposite.any():
        # Rotate by pi through a direction w orthogonal to u: cos(pi t) u + sin(pi t) w.
        v = np.where(opposite, _right_angle(u), v)
        angle = np.where(opposite, np.pi / 2, angle)
    parallel = angle < ANGLE_TOLERANCE
    turn = np.where(opposite, 2 * t, t) * angle
    below = np.where(parallel, 1.0, _sines(angle))
    weight_u = np.where(parallel, 1 - t, _sines(angle - turn) / below)
    weight_v = np.where(parallel, t, _sines(turn) / below)
    # Extrapolating beyond ``a``, away from a vector three times as long, would give a negative
    # length.
    lengths = np.maximum(length_a + t * (length_b - length_a), 0)
    curved = (weight_u * u + weight_v * v) * lengths
    return np.where(zero, a + t * (b - a), curved)


def _right_angle(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """A unit vector orthogonal to each row; zeros if there is only one dimension."""
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
