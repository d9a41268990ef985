"""What several releases promise together."""

from __future__ import annotations

import pytest

from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.privacy.budget import Charge, total_epsilon

CLASSES = ("grain", "ship")


def charge(epsilon, **given):
    return Charge.of(PrivacyConfig(epsilon=epsilon, **given))


@pytest.mark.parametrize("neighbors", ["add_or_remove", "replace"])
@pytest.mark.parametrize("classes", [None, CLASSES])
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 8.0])
def test_one_release_costs_what_it_promises(epsilon, neighbors, classes):
    one = charge(epsilon, neighbors=neighbors, classes=classes)
    assert total_epsilon([one], neighbors) == (pytest.approx(epsilon, rel=1e-4), 1e-5)


def test_two_releases_cost_less_than_twice_and_more_than_one():
    epsilon, delta = total_epsilon([charge(8.0)] * 2, "add_or_remove")
    assert 11 < epsilon < 13 and delta == 2e-5


def test_a_release_made_for_one_relation_costs_more_in_the_other():
    one = charge(1.0, neighbors="add_or_remove")
    assert total_epsilon([one], "replace")[0] > 1.2
    two = charge(1.0, neighbors="replace")
    assert total_epsilon([two], "add_or_remove")[0] < 1.0
