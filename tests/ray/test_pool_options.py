"""What Ray Data is told of a pool of actors."""

import pytest
from ray.data import DataContext

from smotext_ray.cluster.pools import Pool, pool_options
from smotext_ray.cluster.ray_data import set_up_data, settings_restored


def test_a_pool_starts_with_all_its_actors():
    options = pool_options(Pool(3, 1.0, 0.5))
    compute = options["compute"]
    assert (compute.min_size, compute.max_size, compute.initial_size) == (3, 3, 3)
    assert (options["num_cpus"], options["num_gpus"]) == (1.0, 0.5)
    assert "accelerator_type" not in options
    assert pool_options(Pool(3, 1.0, 0.5, gpu_type="L4"))["accelerator_type"] == "L4"


@pytest.mark.parametrize("blocks", [4, 5, 8, 1000])
def test_a_pool_of_decoders_can_be_so_busy_that_ray_data_lets_it_grow(blocks):
    with settings_restored():
        set_up_data(None, None)
        wanted = DataContext.get_current().autoscaling_config.actor_pool_util_upscaling_threshold
    pool = pool_options(Pool(4, 1.0, first=1), blocks, in_flight=4)["compute"]
    most = pool.max_tasks_in_flight_per_actor / pool.max_concurrent_calls_per_actor
    assert most >= wanted
    theirs = DataContext.get_current().autoscaling_config.actor_pool_util_upscaling_threshold
    assert theirs != wanted  # of datasets that are not ours


def test_a_pool_that_grows_is_told_so_to_ray_data():
    strategy = pool_options(Pool(4, 1.0, 0.9, first=1))["compute"]
    assert (strategy.min_size, strategy.max_size, strategy.initial_size) == (1, 4, 1)
