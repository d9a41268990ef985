"""How much a synthetic row weighs in training."""

from __future__ import annotations

import pytest

from smotext_ray.run.sample_weight import synthetic_weights


def test_synthetic_rows_of_a_class_weigh_together_as_much_as_its_real_ones():
    real, new = {"a": 10, "b": 7}, {"a": 100, "b": 21}
    weights = synthetic_weights(real, new)
    for label, number in new.items():
        assert weights[label] * number == pytest.approx(real[label])


def test_no_synthetic_row_weighs_more_than_a_real_one():
    assert synthetic_weights({"a": 100}, {"a": 10}) == {"a": 1.0}


def test_without_real_rows_all_weigh_the_same():
    assert synthetic_weights({}, {"a": 10, "b": 0}) == {"a": 1.0, "b": 1.0}
