"""Blocks of the decode job: small enough that a kill costs little, however small the plan."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from ray.data._internal.execution.operators.map_operator import _splitrange

from smotext_ray.config import ResourcesConfig
from smotext_ray.decoding import decode_blocks
from smotext_ray.ray_data import MOST_BLOCKS

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
    most = ResourcesConfig().decode_rows_per_block
    assert decode_blocks([most], most) == 1
    assert decode_blocks([most + 1], most) == 2
    assert largest_block([3 * most, 5], decode_blocks([3 * most, 5], most)) <= most


def test_a_large_plan_gets_no_more_blocks_but_larger_ones():
    files = [20_000] * 500
    blocks = decode_blocks(files, 64)
    assert MOST_BLOCKS <= blocks < 1.1 * MOST_BLOCKS
    assert largest_block(files, blocks) <= -(-sum(files) // MOST_BLOCKS)
