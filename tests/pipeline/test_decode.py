"""Blocks of the decode job: small enough that a kill costs little, however small the plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.data._internal.execution.operators.map_operator import _splitrange

from smotext_ray.cluster.pools import Pool
from smotext_ray.cluster.ray_data import MOST_BLOCKS
from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline import decode
from smotext_ray.pipeline.decode import decode_blocks, rows_per_block

FILES = st.lists(st.integers(1, 20_000), min_size=1, max_size=40)


def largest_block(rows_of_files: list[int], blocks: int) -> int:
    """As Ray Data cuts: it reads a file a task, and splits what each task has read."""
    pieces = -(-blocks // len(rows_of_files))
    return max(max(_splitrange(rows, pieces)) for rows in rows_of_files)


@given(FILES, st.integers(1, 512))
def test_no_block_has_more_rows_than_it_may(rows_of_files, rows_per_block):
    blocks = decode_blocks(rows_of_files, rows_per_block)
    most = max(rows_per_block, -(-sum(rows_of_files) // MOST_BLOCKS))
    assert largest_block(rows_of_files, blocks) <= most


def test_a_small_plan_is_cut_too():
    most = rows_per_block(RunConfig(), Pool(2, 1.0))
    assert decode_blocks([most], most) == 1
    assert decode_blocks([most + 1], most) == 2
    assert largest_block([3 * most, 5], decode_blocks([3 * most, 5], most)) <= most


def test_a_large_plan_gets_no_more_blocks_but_larger_ones():
    files = [20_000] * 500
    blocks = decode_blocks(files, 64)
    assert MOST_BLOCKS <= blocks < 1.1 * MOST_BLOCKS
    assert largest_block(files, blocks) <= -(-sum(files) // MOST_BLOCKS)


SEVEN_B = 14_500_000_000


@pytest.mark.parametrize("size", [0.3e9, 3e9, SEVEN_B])
@pytest.mark.parametrize("decoders", [1, 8, 64])
def test_on_gpus_a_block_takes_a_second_and_the_driver_keeps_up(monkeypatch, size, decoders):
    monkeypatch.setattr(decode, "weight_bytes", lambda model: int(size))
    config = RunConfig.model_validate({"decoder": {"max_tokens": 96, "num_candidates": 4}})
    rows = rows_per_block(config, Pool(decoders, 3.0, 0.9))
    # 256 texts at once, a token each in 4 ms or the time to read all weights at 2 TB/s.
    rows_a_second = 256 / max(0.004, size / 0.9 / 2e12) / (4 * 32)
    assert rows >= 64
    assert rows / rows_a_second >= 0.99
    assert decoders * rows_a_second / rows * 0.08 <= 0.51


def test_rows_of_a_block_as_set_and_on_cpu():
    config = RunConfig.model_validate({"resources": {"decode_rows_per_block": 7}})
    assert rows_per_block(config, Pool(8, 3.0, 0.9)) == 7
    one, four = (RunConfig.model_validate({"decoder": {"num_candidates": n}}) for n in (1, 4))
    assert rows_per_block(one, Pool(2, 1.0)) == 4 * rows_per_block(four, Pool(2, 1.0)) == 32
    # So many decoders that each takes blocks of ten seconds: the driver is busy half of the time.
    assert rows_per_block(one, Pool(64, 1.0)) == 103
