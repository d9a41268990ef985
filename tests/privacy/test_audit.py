"""An audit: the strongest attack on neighboring corpora finds no more than the promise allows.

The attacker knows every record but one, all public data and the mechanism, and sees many releases
of two neighboring corpora. The best test between them is their likelihood ratio: the noise along
the line between the two. Lower bounds on epsilon follow from how often it errs, one for any
mechanism [1]_ and a tight one for a promise of Gaussian noise [2]_. A mechanism that is broken,
with half its noise or a sensitivity that is too small, must be caught.

References
----------
.. [1] Nasr et al.: Adversary instantiation: lower bounds for differentially private machine
   learning. IEEE S&P 2021, arXiv:2101.04535.
.. [2] Nasr et al.: Tight auditing of differentially private machine learning. USENIX Security 2023,
   arXiv:2302.07956.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta, norm

from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.privacy.gaussian import epsilon_at
from smotext_ray.privacy.release import add_noise, noise_scale
from smotext_ray.privacy.sums import UNITS, ClassSums, record_vector

K, TRIALS, WAYS, CONFIDENCE = 8, 6_000, 4, 0.999
CLASSES = ("grain", "ship")


def neighbors(relation):
    """The two corpora that the noise has most to hide of."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(30, K))
    codes = np.arange(30) % 2
    far = np.eye(K)[0] * 9.0
    one, other = (rows, codes), (np.vstack([rows, far]), np.append(codes, 0))
    if relation == "replace":
        one = (np.vstack([rows, -far]), np.append(codes, 0))
    return [
        ClassSums.of(np.stack([record_vector(row, 0.5) for row in x]), y, 2).as_matrix()
        for x, y in (one, other)
    ]


def scores(matrices, scale):
    """The log of the likelihood ratio, up to a factor, of releases of each corpus.

    Noise is the same for all numbers, so only its part along the line between the corpora tells
    them apart. The numbers that do not differ are left out: they are noise alone.
    """
    one, other = (matrix.ravel() for matrix in matrices)
    differs = one != other
    line = (other - one)[differs].astype(float)
    line /= np.linalg.norm(line)
    found = []
    for matrix in (one, other):
        many = np.repeat(matrix[differs][None], TRIALS, axis=0)
        noised = add_noise(many, scale * UNITS)
        found.append((noised - one[differs]) @ line / UNITS)
    return found


def rates(without, with_it, threshold):
    """How often the attack is right at least, and how often it is a false alarm at most."""
    hits, alarms, n = (with_it > threshold).sum(), (without > threshold).sum(), len(without)
    tail = (1 - CONFIDENCE) / 2 / WAYS
    low = beta.ppf(tail, hits, n - hits + 1) if hits else 0.0  # Clopper and Pearson
    high = beta.ppf(1 - tail, alarms + 1, n - alarms) if alarms < n else 1.0
    return low, high


def epsilon_of_any(low, high, delta):
    return math.log((low - delta) / high) if low - delta > high else 0.0


def epsilon_of_gaussian(low, high, delta):
    mu = norm.ppf(low) - norm.ppf(high)
    return epsilon_at(mu, delta) if mu > 0 else 0.0


def least_epsilon(of, without, with_it, delta):
    """A lower bound on epsilon, by the best of a few thresholds along the line."""
    length = with_it.mean() - without.mean()
    spread = without.std()
    thresholds = without.mean() + np.append(length / 2, np.linspace(1, 3, WAYS - 1) * spread)
    return max(of(*rates(without, with_it, threshold), delta) for threshold in thresholds)


def found_epsilon(privacy, scale):
    matrices = neighbors(privacy.neighbors)
    releases = scores(matrices, scale)
    return [
        least_epsilon(of, *releases, privacy.delta) for of in (epsilon_of_any, epsilon_of_gaussian)
    ]


@pytest.mark.parametrize("relation", ["add_or_remove", "replace"])
@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_the_promise_holds_and_half_the_noise_is_caught(relation, epsilon):
    privacy = PrivacyConfig(epsilon=epsilon, neighbors=relation, classes=CLASSES)
    scale = noise_scale(privacy)
    of_any, of_gaussian = found_epsilon(privacy, scale)
    assert of_any <= epsilon
    assert 0.2 * epsilon < of_gaussian <= epsilon  # one that finds nothing would prove nothing
    assert found_epsilon(privacy, scale / 2)[1] > epsilon


def test_a_count_that_is_forgotten_in_the_sensitivity_is_caught():
    """With the noise that the sum alone would need, a record moves the count for free."""
    privacy = PrivacyConfig(epsilon=4.0, classes=CLASSES)
    assert found_epsilon(privacy, noise_scale(privacy) / math.sqrt(2))[1] > 4.0
