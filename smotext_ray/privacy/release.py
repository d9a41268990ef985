"""The release: the counts and sums of a corpus with Gaussian noise, drawn once.

Everything that a run with epsilon produces from then on - points, texts, decisions of the gate -
follows only from the release and public data.

The noise comes from OpenDP [1]_: a discrete Gaussian on whole numbers, sampled exactly from the
operating system's entropy. numpy's noise would leak records through its least significant bits
[2]_, and its seed would allow removing the noise. The guarantee of continuous noise carries over:
rounded to whole numbers it is post-processed, and with a standard deviation of more than 100,000
units, as for any epsilon up to 100, the rounded and the discrete Gaussian differ in the log of a
probability by less than 1e-6 per release; the scale has a margin for that.

If the class names are private, a class is released only if its noised count is above a threshold
that a class of one record passes with probability ``delta / 4`` at most.

References
----------
.. [1] https://docs.opendp.org; Canonne, Kamath and Steinke: The discrete Gaussian for differential
   privacy. NeurIPS 2020, arXiv:2004.00010.
.. [2] Mironov: On significance of the least significant bits for differential privacy. CCS 2012.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.errors import UserError
from smotext_ray.privacy.gaussian import largest_mu
from smotext_ray.privacy.sums import SENSITIVITY, UNITS, ClassSums

MARGIN = 1 + 1e-6  # of the scale; see above


@dataclass(frozen=True)
class Release:
    """Noised counts and sums.

    Attributes
    ----------
    labels : list
        Classes.
    counts : ndarray of shape (classes,), float64
        Noised numbers of records, which may be negative.
    sums : ndarray of shape (classes, k), float64
        Noised sums of clipped records, in multiples of the clipping norm.
    noise : float
        Standard deviation of the noise on each of these numbers.
    """

    labels: list[Any]
    counts: np.ndarray
    sums: np.ndarray
    noise: float

    def to_json(self) -> bytes:
        """The release as JSON, in whole units."""
        content = {
            "units": UNITS,
            "noise": self.noise,
            "labels": self.labels,
            "counts": _units(self.counts).tolist(),
            "sums": _units(self.sums).tolist(),
        }
        return json.dumps(content).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Release:
        """Read what `to_json` wrote."""
        read = json.loads(content)
        counts = np.array(read["counts"], np.float64) / read["units"]
        sums = np.array(read["sums"], np.float64) / read["units"]
        return cls(read["labels"], counts, sums.reshape(len(counts), -1), read["noise"])


def noise_scale(privacy: PrivacyConfig) -> float:
    """Standard deviation of the noise, in multiples of the clipping norm, and in records.

    Parameters
    ----------
    privacy : PrivacyConfig
        Must have an epsilon.
    """
    assert privacy.epsilon is not None
    delta = privacy.delta if privacy.classes else privacy.delta / 2
    return SENSITIVITY[privacy.neighbors] / largest_mu(privacy.epsilon, delta) * MARGIN


def least_count(privacy: PrivacyConfig) -> float:
    """Least noised number of records for which a class is released; no limit if class names are
    public.

    A class that one of two neighboring corpora lacks has one record in the other. It passes with
    probability ``delta / 4``, and replacing a record can add one such class and remove another:
    these two take half of delta, and the noise the other half.
    """
    if privacy.classes:
        return -np.inf
    from scipy.special import ndtri

    return float(1 - noise_scale(privacy) * ndtri(privacy.delta / 4))


def release(sums: ClassSums, labels: Sequence[Any], privacy: PrivacyConfig) -> Release:
    """Draw the noise. Each call is another release and must be charged as one.

    Parameters
    ----------
    sums : ClassSums
    labels : sequence of length classes
        Class names: public, or released only if `least_count` allows.
    privacy : PrivacyConfig
        Must have an epsilon.

    Returns
    -------
    Release
    """
    scale = noise_scale(privacy)
    noised = add_noise(sums.as_matrix(), scale * UNITS) / UNITS
    kept = np.flatnonzero(noised[:, 0] > least_count(privacy))
    return Release([labels[i] for i in kept], noised[kept, 0], noised[kept, 1:], scale)


def add_noise(numbers: np.ndarray, scale: float) -> np.ndarray:
    """Add independent discrete Gaussian noise to whole numbers, different on each call.

    Parameters
    ----------
    numbers : ndarray of int64
    scale : float
        Standard deviation.

    Returns
    -------
    ndarray of int64 of the same shape
    """
    dp = opendp()
    domain = dp.vector_domain(dp.atom_domain(T="i64"))
    gaussian = dp.m.make_gaussian(domain, dp.l2_distance(T="f64"), scale)
    return np.array(gaussian(numbers.ravel().tolist()), np.int64).reshape(numbers.shape)


def opendp() -> Any:
    """The OpenDP library.

    Raises
    ------
    UserError
        If it is not installed.
    """
    try:
        import opendp.prelude as dp
    except ImportError as error:
        raise UserError(
            "privacy.epsilon needs the package opendp; run: pip install 'smotext-ray[privacy]'"
        ) from error
    dp.enable_features("contrib")  # still required for its Gaussian mechanism
    return dp


def _units(values: np.ndarray) -> np.ndarray:
    return np.rint(values * UNITS).astype(np.int64)
