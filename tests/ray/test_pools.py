"""Pools fit the cluster with CPUs to spare, and what does not fit is a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.cluster import pools as pools_module
from smotext_ray.cluster.pools import (
    DECODER_GIB,
    ENCODER_GIB,
    SPARE_CPUS,
    Pool,
    decoder_pools,
    encoder_pool,
    planner_pool,
)
from smotext_ray.cluster.session import Cluster
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError

MANY = 10_000  # blocks: as many actors as fit


def config(tensor_parallel=1, **resources):
    return RunConfig.model_validate(
        {"resources": resources, "decoder": {"tensor_parallel_size": tensor_parallel}}
    )


def started_here(cores, memory_gib=1000.0, gpus=0.0):
    """The cluster that `connect` starts on a machine with a number of cores."""
    return Cluster(cpus=2.0 * cores + 2, gpus=gpus, memory_gib=memory_gib)


@pytest.fixture(autouse=True)
def no_address(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def remote(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")


def refused(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


def held(*pools):
    """CPUs, GPUs of these pools together."""
    return sum(p.actors * p.cpus for p in pools), sum(p.actors * p.gpus for p in pools)


# A machine of its own


@pytest.mark.parametrize("cores", [1, 2, 8, 64])
def test_one_actor_a_core_on_a_machine_without_gpu(cores):
    machine = started_here(cores)
    assert encoder_pool(machine, config(), MANY) == Pool(cores, 1.0)
    decoders, gates = decoder_pools(machine, config(), MANY)
    assert decoders == Pool(cores, 1.0)
    assert gates == Pool(max(1, cores // 8), 0.5)
    assert planner_pool(machine, config(), MANY, 1.0) == Pool(cores, 1.0)


def test_memory_bounds_the_actors():
    assert encoder_pool(started_here(64, 5.5 * ENCODER_GIB), config(), MANY).actors == 5
    laptop = started_here(2, 2 * DECODER_GIB + ENCODER_GIB)
    assert decoder_pools(laptop, config(), MANY)[0].actors == 2
    less = started_here(2, 2 * DECODER_GIB + ENCODER_GIB - 0.1)
    assert decoder_pools(less, config(), MANY)[0].actors == 1


def test_memory_holds_every_gate_and_not_only_the_first():
    decoders, gates = decoder_pools(started_here(64, 100.0), config(), MANY)
    assert gates.actors == decoders.actors // 8 > 1
    assert decoders.actors * DECODER_GIB + gates.actors * ENCODER_GIB <= 100


def test_memory_holds_what_each_gate_keeps_of_the_corpus():
    laptop = started_here(2, 2 * DECODER_GIB + ENCODER_GIB + 0.5)
    assert decoder_pools(laptop, config(), MANY, 0.5)[0].actors == 2
    assert decoder_pools(laptop, config(), MANY, 0.6)[0].actors == 1
    message = refused(decoder_pools, laptop, config(), MANY, 4.0)
    assert "at least 3.5 CPUs and 8 GiB" in message
    with_gpu = Cluster(cpus=8, gpus=1, memory_gib=3.0)
    assert decoder_pools(with_gpu, config(), MANY, 3.0)[0].actors == 1
    assert "3.1 GiB" in refused(decoder_pools, with_gpu, config(), MANY, 3.1)


def test_too_little_memory_is_refused_with_the_numbers():
    message = refused(decoder_pools, started_here(2, 3.5), config(), MANY)
    assert "6 CPUs and 3.5 GiB" in message and "at least 3.5 CPUs and 4 GiB" in message
    refused(encoder_pool, started_here(2, 0.9), config(), MANY)
    refused(planner_pool, started_here(2, 0.9), config(), MANY, 1.0)


def test_no_more_actors_than_blocks():
    machine = started_here(64)
    assert encoder_pool(machine, config(), 3).actors == 3
    assert decoder_pools(machine, config(), 3) == (Pool(3, 1.0), Pool(1, 0.5))
    assert planner_pool(machine, config(), 3, 1.0).actors == 3


def test_actors_asked_for():
    machine = started_here(4)
    assert encoder_pool(machine, config(encoder_actors=3), MANY).actors == 3
    assert decoder_pools(machine, config(decoder_actors=4), MANY)[0].actors == 4
    message = refused(decoder_pools, machine, config(decoder_actors=5), MANY)
    assert "resources.decoder_actors is 5" in message
    assert "room for 4" in message
    message = refused(encoder_pool, machine, config(encoder_actors=9), MANY)
    assert "resources.encoder_actors" in message and "room for 4" in message


# A cluster at RAY_ADDRESS


@pytest.mark.parametrize("cpus", [0, 1, 2])
def test_a_tiny_cluster_is_refused_by_every_job(remote, cpus):
    tiny = Cluster(cpus, 0, 100)
    for message in (
        refused(encoder_pool, tiny, config(), MANY),
        refused(decoder_pools, tiny, config(), MANY),
        refused(planner_pool, tiny, config(), MANY, 1.0),
    ):
        assert f"has {cpus} CPUs" in message and "at least 3" in message


def test_three_cpus_embed_but_cannot_decode(remote):
    assert encoder_pool(Cluster(3, 0, 100), config(), MANY).actors == 1
    assert "3.5 CPUs" in refused(decoder_pools, Cluster(3, 0, 100), config(), MANY)


def test_four_cpus_are_enough(remote):
    four = Cluster(4, 0, 100)
    assert encoder_pool(four, config(), MANY).actors == 2
    assert decoder_pools(four, config(), MANY) == (Pool(1, 1.0), Pool(1, 0.5))
    assert "room for 1" in refused(decoder_pools, four, config(decoder_actors=2), MANY)


# GPUs


def test_each_decoder_has_a_gate_on_its_gpu():
    machine = started_here(32, gpus=8)
    assert decoder_pools(machine, config(), MANY) == (Pool(8, 3.0, 0.9), Pool(8, 1.0, 0.1))
    assert planner_pool(machine, config(), MANY, 1.0) == Pool(32, 1.0, 0.25)


def test_gates_as_set():
    machine = started_here(32, gpus=8)
    few = config(gate_actors=2, gpus_per_gate=0.25)
    assert decoder_pools(machine, few, MANY) == (Pool(8, 3.0, 0.75), Pool(2, 1.0, 0.25))
    on_cpu = config(gpus_per_gate=0)
    assert decoder_pools(machine, on_cpu, MANY) == (Pool(8, 3.0, 1.0), Pool(8, 1.0, 0.0))
    assert decoder_pools(started_here(8), config(gate_actors=3), MANY)[1] == Pool(3, 0.5)


def test_gates_with_gpus_of_their_own():
    machine = started_here(32, gpus=8)
    assert decoder_pools(machine, config(gpus_per_gate=1), MANY) == (
        Pool(4, 3.0, 1.0),
        Pool(4, 1.0, 1),
    )
    three = config(gpus_per_gate=1, gate_actors=3)
    assert decoder_pools(machine, three, MANY) == (Pool(5, 3.0, 1.0), Pool(3, 1.0, 1))
    message = refused(decoder_pools, started_here(32, gpus=1), config(gpus_per_gate=1), MANY)
    assert "resources.gpus_per_gate is 1" in message


def test_several_decoders_on_a_gpu():
    machine = started_here(32, gpus=2)
    two = config(decoders_per_gpu=2)
    assert decoder_pools(machine, two, MANY) == (Pool(4, 3.0, 0.4), Pool(4, 1.0, 0.1))
    three = decoder_pools(machine, config(decoders_per_gpu=3), MANY)
    assert three[0].actors == 6
    assert 3 * (three[0].gpus + three[1].gpus) <= 1
    assert "leaves no share" in refused(decoder_pools, machine, config(decoders_per_gpu=10), MANY)
    assert "decoders_per_gpu" in refused(
        decoder_pools, machine, config(2, decoders_per_gpu=2), MANY
    )


@pytest.mark.parametrize(("cpus", "each"), [(4, 1.0), (5, 2.0), (8, 3.0), (64, 3.0)])
def test_a_decoder_reserves_the_cores_that_an_engine_keeps_busy(remote, cpus, each):
    decoders, gates = decoder_pools(Cluster(cpus, 1, 100), config(), MANY)
    assert (decoders, gates) == (Pool(1, each, 0.9), Pool(1, 1.0, 0.1))


def test_encoders_share_gpus():
    assert encoder_pool(started_here(32, gpus=2), config(), MANY) == Pool(8, 1.0, 0.25)
    whole = config(gpus_per_encoder=1.0)
    assert encoder_pool(started_here(32, gpus=2), whole, MANY) == Pool(2, 1.0, 1.0)
    # Two of 0.4 fit on a GPU: five of them do not fit on two GPUs.
    uneven = config(gpus_per_encoder=0.4)
    assert encoder_pool(started_here(32, gpus=2), uneven, MANY).actors == 4
    none = config(gpus_per_encoder=0)
    assert encoder_pool(started_here(4, gpus=2), none, MANY) == Pool(4, 1.0)
    assert "resources.gpus_per_encoder is 1.5" in refused(
        encoder_pool, started_here(32, gpus=2), config(gpus_per_encoder=1.5), MANY
    )


def test_gpus_do_not_help_where_cpus_lack(remote):
    assert encoder_pool(Cluster(6, 8, 100), config(), MANY).actors == 4
    assert planner_pool(Cluster(6, 8, 100), config(), MANY, 1.0).actors == 4
    assert decoder_pools(Cluster(6, 8, 100), config(), MANY)[0].actors == 2
    assert decoder_pools(Cluster(6, 8, 100), config(gate_actors=1), MANY)[0].actors == 3
    for gpu_host in (Cluster(2, 1, 100), Cluster(3, 1, 100)):
        assert "at least 4 CPUs" in refused(decoder_pools, gpu_host, config(), MANY)
    refused(encoder_pool, Cluster(2, 1, 100), config(), MANY)
    refused(encoder_pool, Cluster(2, 1, 100), config(gpus_per_encoder=0), MANY)


def test_tensor_parallel_engines_take_whole_gpus():
    decoders, gates = decoder_pools(started_here(32, gpus=4), config(2), MANY)
    assert decoders == Pool(2, 3.0, 2)
    assert gates == Pool(2, 1.0, 0.0)  # no GPU is left for them
    assert decoder_pools(started_here(32, gpus=5), config(2), MANY)[1].gpus == 0.1
    assert "room for 2" in refused(
        decoder_pools, started_here(32, gpus=4), config(2, decoder_actors=3), MANY
    )


def test_a_large_encoder_is_left_a_gpu_by_tensor_parallel_engines():
    large = config(2, gpus_per_encoder=1.0)
    decoders, gates = decoder_pools(started_here(32, gpus=4), large, MANY)
    assert (decoders, gates) == (Pool(1, 3.0, 2), Pool(1, 1.0, 0.1))
    assert decoder_pools(started_here(32, gpus=5), large, MANY)[0].actors == 2
    message = refused(decoder_pools, started_here(32, gpus=2), large, MANY)
    assert "resources.gpus_per_gate=0" in message
    on_cpu = config(2, gpus_per_encoder=1.0, gpus_per_gate=0)
    assert decoder_pools(started_here(32, gpus=2), on_cpu, MANY)[1] == Pool(1, 1.0, 0.0)


def test_an_engine_does_not_reach_over_machines(remote):
    four_times_one = Cluster(64, 4, 100, node_gpus=(0, 1, 1, 1, 1))
    message = refused(decoder_pools, four_times_one, config(2), MANY)
    assert "tensor_parallel_size is 2" in message and "more than 1 GPU" in message
    three_and_two = Cluster(64, 5, 100, node_gpus=(3, 2))
    assert decoder_pools(three_and_two, config(2), MANY)[0].actors == 2
    assert decoder_pools(three_and_two, config(3), MANY)[0].actors == 1


# Always


@given(
    cpus=st.one_of(st.integers(0, 12), st.integers(0, 1000), st.floats(0, 20)),
    gpus=st.integers(0, 40),
    memory=st.floats(0, 500),
    width=st.integers(1, 4),
    share=st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 1.0]),
    of_gate=st.sampled_from([0.0, 0.1, 0.25, 1.0]),
    gates=st.integers(0, 5),
    per_gpu=st.integers(1, 4),
    local=st.booleans(),
    blocks=st.integers(1, 200),
)
def test_what_is_held_leaves_room_or_is_refused(
    cpus, gpus, memory, width, share, of_gate, gates, per_gpu, local, blocks
):
    there = Cluster(cpus, gpus, memory)
    shared = {"gpus_per_encoder": share, "gpus_per_gate": of_gate, "gate_actors": gates}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools_module, "_started_here", lambda: local)
        for pools in (
            lambda: (encoder_pool(there, config(gpus_per_encoder=share), blocks),),
            lambda: decoder_pools(there, config(width, **shared), blocks),
            lambda: decoder_pools(there, config(decoders_per_gpu=per_gpu, **shared), blocks),
            lambda: (planner_pool(there, config(), blocks, 1.0),),
        ):
            try:
                made = pools()
            except UserError:
                continue
            cpus_held, gpus_held = held(*made)
            assert all(pool.actors >= 1 for pool in made)
            assert cpus_held + SPARE_CPUS <= cpus
            assert gpus_held <= gpus + 1e-6


# A cluster that grows


def growing(**resources):
    return config(**resources, max_cluster_cpus=32, max_cluster_gpus=4)


def test_gpus_that_are_to_come_are_counted_on(remote):
    head = Cluster(cpus=4, gpus=0, memory_gib=8, node_gpus=(0.0,))
    decoders, gates = decoder_pools(head, growing(), MANY)
    assert (decoders.actors, decoders.first, decoders.gpus) == (4, 1, 0.9)
    assert (gates.actors, gates.first) == (4, 1)
    encoders = encoder_pool(head, growing(), MANY)
    assert (encoders.actors, encoders.first, encoders.gpus) == (16, 1, 0.25)


def test_a_growing_pool_begins_with_what_there_is_room_for(remote):
    there = Cluster(cpus=10, gpus=2, memory_gib=64, node_gpus=(0.0, 1.0, 1.0))
    decoders, _ = decoder_pools(there, growing(), MANY)
    assert (decoders.actors, decoders.first) == (4, 2)
    # It is never smaller than what is there.
    decoders, _ = decoder_pools(there, config(max_cluster_gpus=1), MANY)
    assert (decoders.actors, decoders.first) == (2, 2)


def test_no_machine_with_a_gpu_is_started_to_plan(remote):
    head = Cluster(cpus=4, gpus=0, memory_gib=8, node_gpus=(0.0,))
    planners = planner_pool(head, growing(), MANY, 1.0)
    assert (planners.actors, planners.first, planners.gpus) == (30, 2, 0.0)


def test_large_classes_make_fewer_planners():
    machine = started_here(8, memory_gib=30)
    assert planner_pool(machine, config(), MANY, 7.0).actors == 4


def test_what_does_not_fit_the_bounds_either_is_refused_with_them(remote):
    head = Cluster(cpus=1, gpus=0, memory_gib=8, node_gpus=(0.0,))
    message = refused(encoder_pool, head, config(max_cluster_cpus=2), MANY)
    assert "may grow to 2 CPUs for actors, but the job needs at least 3 CPUs" in message
    assert "16" in refused(encoder_pool, head, growing(encoder_actors=17), MANY)
    assert "4 GPUs" in refused(decoder_pools, head, growing(tensor_parallel=8), MANY)


# One type of GPU


def test_actors_on_gpus_and_no_others_ask_for_the_type(remote):
    there = Cluster(12, 2, 64, (0.0, 2.0), gpu_type="L4", gpu_types=("A100", "L4"))
    decoders, gates = decoder_pools(there, config(gpus_per_gate=0.0), MANY)
    assert (decoders.gpu_type, gates.gpu_type) == ("L4", "")
    assert encoder_pool(there, config(), MANY).gpu_type == "L4"
    later = Cluster(12, 0, 64, (0.0,), gpu_type="L4")
    assert encoder_pool(later, config(max_cluster_gpus=2), MANY).gpu_type == "L4"


def test_a_type_that_the_cluster_lacks_is_refused_with_those_it_has(remote):
    there = Cluster(12, 0, 64, (0.0, 0.0), gpu_type="L4", gpu_types=("A100", "T4"))
    assert "'L4'" in refused(encoder_pool, there, config(), MANY)
    assert "(A100, T4)" in refused(decoder_pools, there, config(), MANY)
