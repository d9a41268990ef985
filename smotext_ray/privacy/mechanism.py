"""The Gaussian mechanism: clip each record, then add noise to it, once.

Datasets are neighbors if they differ in the text of one record; labels, row numbers and the number
of rows are the same. A clipped record then moves by at most twice the clipping norm. Each record is
released once with independent noise, so the guarantee for one record holds for all.

The noise and its scale come from OpenDP [1]_: its accountant, rounded conservatively, and a
discrete Gaussian on the grid of floating-point numbers, drawn from the operating system's entropy.
numpy's noise would leak records through its least significant bits [2]_, and its seed would allow
removing the noise.

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
    """Scale rows longer than ``norm`` down to that length.

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
        If there are NaN or infinite values, which cannot be scaled to a bounded length.

    Examples
    --------
    >>> clip(np.array([[3.0, 4.0], [0.3, 0.4]]), norm=1.0).round(3).tolist()
    [[0.6, 0.8], [0.3, 0.4]]
    """
    rows = np.asarray(rows, np.float64)
    if not np.isfinite(rows).all():
        raise ValueError("The embeddings hold NaN or infinity.")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # The sensitivity is an upper bound: rounding may shorten a row, never lengthen it.
    longest = norm * (1 - 1e-12)
    return rows * np.minimum(1, longest / np.maximum(lengths, longest))


def noise_scale(privacy: PrivacyConfig) -> float:
    """Standard deviation of the noise per coordinate that gives the guarantee.

    Parameters
    ----------
    privacy : PrivacyConfig
        Must have an epsilon.

    Returns
    -------
    float
        At common deltas, about 5 to 10% above the minimum [1]_.

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
    """Add independent Gaussian noise to every value, different on each call.

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
    """L2 sensitivity: how far a different text can move a record, twice the norm."""
    return 2 * privacy.clip_norm


class Promise(BaseModel):
    """The privacy guarantee of a run with epsilon, and its assumptions.

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
        """The guarantee in two sentences."""
        return (
            f"Differentially private with epsilon {self.epsilon:g} and delta {self.delta:g} for "
            f"{self.unit}; the L2 sensitivity is {self.sensitivity:g}. Assumed: {self.assumes}."
        )


def promise(privacy: PrivacyConfig) -> Promise:
    """The privacy guarantee of a run with epsilon, and its assumptions, for the manifest."""
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
    """The mechanism for a vector of any length: all coordinates of a block at once."""
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
    dp.enable_features("contrib")  # still required for its Gaussian mechanism
    return dp
