"""Points between embeddings; every row is computed independently."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smotext_ray.plan.vectors import row_sums

BLOCK_ROWS = 128  # stays in a core's cache


def interpolate(
    x: NDArray[np.float32],
    neighbor: NDArray[np.float32],
    lam: NDArray[np.float32],
    unit_norm: bool,
) -> NDArray[np.float32]:
    """Points on the line between rows and their neighbors, as in SMOTE [1]_.

    ``x + lam * (neighbor - x)``.

    Parameters
    ----------
    x, neighbor : ndarray of float32, shape (n, d)
    lam : ndarray of float32, shape (n,)
        0 is at ``x``, 1 at ``neighbor``, below 0 beyond ``x``.
    unit_norm : bool
        Normalize the points to length 1, as the encoder does: the bridge was trained only on such
        vectors. A point at the origin becomes ``x``.

    Returns
    -------
    ndarray of float32, shape (n, d)
        Computed in float64, each row independently.

    References
    ----------
    .. [1] Chawla, Bowyer, Hall, Kegelmeyer: SMOTE: synthetic minority over-sampling
       technique. JAIR 16, 2002.

    Examples
    --------
    >>> x, neighbor = np.float32([[1, 0]]), np.float32([[0, 1]])
    >>> interpolate(x, neighbor, np.float32([0.5]), unit_norm=False).tolist()
    [[0.5, 0.5]]
    """
    points = np.empty(x.shape, np.float32)
    for start in range(0, len(x), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        points[block] = _between(x[block], neighbor[block], lam[block], unit_norm)
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
    unit_norm: bool,
) -> NDArray[np.float64]:
    a, b = np.asarray(x, dtype=np.float64), np.asarray(neighbor, dtype=np.float64)
    t = np.asarray(lam, dtype=np.float64)[:, None]
    points = a + t * (b - a)
    return _to_length_one(points, a) if unit_norm else points


def _to_length_one(points: NDArray[np.float64], a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalize points to the unit sphere; points at the origin become ``a``."""
    points = np.where(_lengths(points) < 1e-9, a, points)
    lengths = _lengths(points)
    return np.asarray(points / np.where(lengths == 0, 1.0, lengths))


def _lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(row_sums(np.square(rows)))[:, None])
