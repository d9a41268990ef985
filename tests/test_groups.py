"""The tests' own grouping over pytest-xdist's workers, which some versions ignore in silence."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="Runs without pytest-xdist.")
def test_a_worker_is_told_the_group_of_a_test(request):
    assert request.node.nodeid.endswith("@test_groups.py")
