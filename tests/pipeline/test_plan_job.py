"""Which plans are made without a pool of actors."""

from __future__ import annotations

from smotext_ray.pipeline.plan import LIGHT_PRODUCTS, fits_one_task
from smotext_ray.plan.classes import SMALL_BYTES


def test_a_plan_is_light_where_few_rows_are_searched():
    counts, dim = {"common": 50_000, "rare": 100}, 384
    assert fits_one_task(counts, {"rare": 100_000}, dim)  # only its 100 rows are searched
    assert fits_one_task(counts, {"common": 10}, dim)
    assert not fits_one_task(counts, {"common": 50_000}, dim)
    assert 50_000**2 * dim > LIGHT_PRODUCTS > 10 * 50_000 * dim


def test_no_plan_of_a_corpus_too_large_to_be_read_whole_is_light():
    dim = 384
    rows = SMALL_BYTES // (4 * dim)
    assert fits_one_task({"common": rows - 10, "rare": 10}, {"rare": 5}, dim)
    assert not fits_one_task({"common": rows, "rare": 10}, {"rare": 5}, dim)
