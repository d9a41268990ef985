"""The exact privacy of Gaussian noise: what a scale guarantees, alone and composed.

A release with Gaussian noise of standard deviation s and L2 sensitivity D is described by the
single number ``mu = D / s`` [1]_: several releases of the same records compose to the root of the
sum of their squares. The conversion to epsilon and delta is the exact one of Balle and Wang
[2]_; the accountants of OpenDP go through zero-concentrated privacy, which requires 6 to 8% more
noise.

References
----------
.. [1] Dong, Roth and Su: Gaussian differential privacy. JRSS B 84, 2022, arXiv:1905.02383,
   corollary 2.
.. [2] Balle and Wang: Improving the Gaussian mechanism for differential privacy. ICML 2018,
   arXiv:1805.06530, theorem 8.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

LEAST, MOST = 1e-6, 1e6  # bounds of mu: no useful setting lies outside


def delta_at(mu: float, epsilon: float) -> float:
    """The least delta for which the noise is (epsilon, delta)-differentially private.

    Parameters
    ----------
    mu : float
        Sensitivity divided by the standard deviation of the noise, above 0.
    epsilon : float

    Returns
    -------
    float

    Examples
    --------
    >>> round(delta_at(1.0, 1.0), 4)
    0.1269
    """
    from scipy.special import log_ndtr, ndtr  # slow to import, and most commands do not need it

    below = math.exp(epsilon + float(log_ndtr(-mu / 2 - epsilon / mu)))
    return max(0.0, float(ndtr(mu / 2 - epsilon / mu)) - below)


def epsilon_at(mu: float, delta: float) -> float:
    """The least epsilon for which the noise is (epsilon, delta)-differentially private.

    Parameters
    ----------
    mu : float
        As in `delta_at`.
    delta : float
        In (0, 1).

    Returns
    -------
    float
        0 if the noise hides a record completely, up to delta.
    """
    from scipy.optimize import brentq

    if delta_at(mu, 0.0) <= delta:
        return 0.0
    highest = 1.0
    while delta_at(mu, highest) > delta:
        highest *= 2
    return float(brentq(lambda epsilon: delta_at(mu, epsilon) - delta, 0.0, highest, xtol=1e-12))


def largest_mu(epsilon: float, delta: float) -> float:
    """The largest ``mu``, for the least noise, that is (epsilon, delta)-differentially private.

    Parameters
    ----------
    epsilon : float
        Above 0.
    delta : float
        In (0, 1).

    Returns
    -------
    float

    Examples
    --------
    >>> round(1 / largest_mu(1.0, 1e-5), 4)
    3.7306
    """
    from scipy.optimize import brentq

    log_mu = brentq(
        lambda log_mu: delta_at(math.exp(log_mu), epsilon) - delta,
        math.log(LEAST),
        math.log(MOST),
        xtol=1e-12,
    )
    return math.exp(float(log_mu))


def composed(mus: Iterable[float]) -> float:
    """The ``mu`` of several releases of the same records together."""
    return math.sqrt(sum(mu**2 for mu in mus))
