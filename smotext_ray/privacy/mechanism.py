"""The Gaussian mechanism: clip each record, then add noise to it, once.

Data sets are neighbours where one record has another text; labels, row numbers and the
number of rows are the same. A clipped record then moves by at most twice the clipping norm,
and as each is released once with noise of its own, the promise to one is that to all.

The scale of the noise and the noise itself are OpenDP's [1]_: its accountant, rounded to
the safe side, and a discrete Gaussian on the grid of the floating-point numbers, drawn from
the operating system's entropy. Noise that numpy draws would give records away by its last
bits [2]_, and its seed would take the noise off again.

References
----------
.. [1] https://docs.opendp.org; zero-concentrated differential privacy: Bun and Steinke,
   arXiv:1605.02065; its noise: Canonne, Kamath and Steinke, arXiv:2004.00010.
.. [2] Mironov: On significance of the least significant bits for differential privacy.
   CCS 2012.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.errors import UserError

LIBRARY = "opendp"


def clip(rows: np.ndarray, norm: float) -> np.ndarray:
    """Shorten rows that are longer than ``norm`` to that length.

    Parameters
    ----------
    rows : ndarray of shape (n, k)
    norm : float

    Returns
    -------
    ndarray of shape (n, k), float64

    Raises
    ------
    ValueError
        For NaN or infinity, which no scale brings to a bounded length.

    Examples
    --------
    >>> clip(np.array([[3.0, 4.0], [0.3, 0.4]]), norm=1.0).round(3).tolist()
    [[0.6, 0.8], [0.3, 0.4]]
    """
    rows = np.asarray(rows, np.float64)
    if not np.isfinite(rows).all():
        raise ValueError("The embeddings hold NaN or infinity.")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # The sensitivity is a bound: rounding may make a row shorter, never longer.
    longest = norm * (1 - 1e-12)
    return rows * np.minimum(1, longest / np.maximum(lengths, longest))


def noise_scale(privacy: PrivacyConfig) -> float:
    """Standard deviation of the noise on each coordinate that keeps the promise.

    Parameters
    ----------
    privacy : PrivacyConfig
        With an epsilon.

    Returns
    -------
    float
        At the usual deltas some 5 to 10 % above the least that would do [1]_.

    References
    ----------
    .. [1] Balle and Wang: Improving the Gaussian mechanism for differential privacy.
       ICML 2018, arXiv:1805.06530.
    """
    dp = _opendp()
    return float(
        dp.binary_search_param(
            lambda scale: dp.c.make_fix_delta(
                dp.c.make_zCDP_to_approxDP(_gaussian(scale)), delta=privacy.delta
            ),
            d_in=sensitivity(privacy),
            d_out=(privacy.epsilon, privacy.delta),
            T=float,
        )
    )


def add_noise(rows: np.ndarray, scale: float) -> np.ndarray:
    """Add independent Gaussian noise to every number, different each time.

    Parameters
    ----------
    rows : ndarray of shape (n, k), float64
    scale : float
        Standard deviation.

    Returns
    -------
    ndarray of shape (n, k), float64
    """
    return np.array(_gaussian(scale)(rows.ravel().tolist())).reshape(rows.shape)


def sensitivity(privacy: PrivacyConfig) -> float:
    """How far, in Euclidean distance, another text can move a record: twice the norm."""
    return 2 * privacy.clip_norm


class Promise(BaseModel):
    """What a run with an epsilon promises, and what the promise rests on.

    Attributes
    ----------
    epsilon, delta : float
    unit : str
        For whom it holds.
    mechanism : str
    sensitivity : float
        L2, of a clipped record.
    clip_norm : float
    dimensions : int
        Of what is noised.
    sigma : float
        Standard deviation of the noise on each of them.
    accountant : str
        The library that computed it, with its version.
    assumes : str
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epsilon: float
    delta: float
    unit: str
    mechanism: str
    sensitivity: float
    clip_norm: float
    dimensions: int
    sigma: float
    accountant: str
    assumes: str

    def in_words(self) -> str:
        """The promise in two sentences."""
        return (
            f"Differentially private with epsilon {self.epsilon:g} and delta {self.delta:g} for "
            f"{self.unit}; the L2 sensitivity is {self.sensitivity:g}. Assumed: {self.assumes}."
        )


def promise(privacy: PrivacyConfig) -> Promise:
    """What a run with an epsilon promises, and what the promise rests on, for its manifest."""
    assert privacy.epsilon is not None
    return Promise(
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        unit="one record: its text may be any other",
        mechanism="Gaussian noise on each clipped embedding, once",
        sensitivity=sensitivity(privacy),
        clip_norm=privacy.clip_norm,
        dimensions=privacy.dimensions,
        sigma=noise_scale(privacy),
        accountant=f"{LIBRARY} {metadata.version(LIBRARY)}",
        assumes=(
            "labels, row numbers, the number of rows and running times are public; a person is "
            "in one record only; encoder, LLM, bridge and directions are not trained on the "
            "records"
        ),
    )


def _gaussian(scale: float) -> Any:
    """The mechanism on a vector of any length: all coordinates of a block at once."""
    dp = _opendp()
    domain = dp.vector_domain(dp.atom_domain(T=float, nan=False))
    return dp.m.make_gaussian(domain, dp.l2_distance(T=float), scale)


def _opendp() -> Any:
    try:
        import opendp.prelude as dp
    except ImportError as error:
        raise UserError(
            "privacy.epsilon needs the package opendp; run: pip install 'smotext-ray[privacy]'"
        ) from error
    dp.enable_features("contrib")  # which its Gaussian mechanism still asks for
    return dp
