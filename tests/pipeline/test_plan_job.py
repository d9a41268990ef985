"""Plans made by a pool of actors, and which are made without one."""

from __future__ import annotations

from counter_handle import CounterHandle as Counter
from handmade_run import build, config_for

from smotext_ray.pipeline.actors import PlanActor
from smotext_ray.pipeline.plan import LIGHT_PRODUCTS, fits_one_task
from smotext_ray.pipeline.plan_files import group_item
from smotext_ray.plan.classes import SMALL_BYTES
from smotext_ray.plan.shards import Shard


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


def test_a_plan_file_is_written_and_counted(tmp_path):
    run = build(tmp_path, {}, until="embed")
    actor = PlanActor(config_for(tmp_path / "corpus.parquet"), run.uri, Counter())
    item = group_item(1, 0, [Shard(1, "grain", 0, 5, 0)])
    told = actor(item)
    assert told == {"file": item["file"], "sha256": told["sha256"]}
    assert run.table("plan", "round-1").count_rows() == actor.counter.rows == 5
