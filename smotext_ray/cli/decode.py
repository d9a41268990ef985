"""Decoding without a corpus: ``smotext interpolate`` and ``smotext bridge decode``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from smotext_ray.cli.exit_codes import DONE
from smotext_ray.cli.terminal import literal, say

if TYPE_CHECKING:
    from smotext_ray.config.schema import RunConfig


def add_interpolate_command(commands: Any, command: Callable[..., Any]) -> None:
    """Add ``interpolate`` to the commands of ``smotext``; see `add_bridge_commands`."""
    parser = command(commands, "interpolate", interpolate, "decode points between two texts")
    parser.add_argument("first", metavar="TEXT", help="the text at lam 0")
    parser.add_argument("second", metavar="TEXT", help="the text at lam 1")
    parser.add_argument(
        "--lam",
        nargs="+",
        type=float,
        default=[0.0, 0.25, 0.5, 0.75, 1.0],
        metavar="X",
        help="positions between them (default: 0 0.25 0.5 0.75 1)",
    )
    _add_model_options(parser)


def add_decode_command(commands: Any, command: Callable[..., Any]) -> None:
    """Add ``decode`` to the commands of ``smotext bridge``; see `add_bridge_commands`."""
    parser = command(commands, "decode", decode, "decode a table of embeddings to texts")
    parser.add_argument("vectors", metavar="FILE", help="parquet file with a column of embeddings")
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="parquet file of texts, in the same order"
    )
    parser.add_argument(
        "--column", default="embedding", metavar="NAME", help="default: %(default)s"
    )
    _add_model_options(parser)


def interpolate(options: argparse.Namespace) -> int:
    """``smotext interpolate``: print the texts between two texts."""
    from rich.console import Console
    from rich.table import Table

    from smotext_ray.api.interpolate import interpolated

    made = interpolated(options.first, options.second, options.lam, _config(options), options.seed)
    table = Table("lam", "cosine", "text", show_edge=False, pad_edge=False)
    for row in made.itertuples():
        table.add_row(f"{row.lam:g}", f"{row.cosine_to_point:.2f}", literal(row.text or ""))
    Console().print(table)
    return DONE


def decode(options: argparse.Namespace) -> int:
    """``smotext bridge decode``: write the texts of a table of embeddings."""
    import pyarrow.parquet as pq

    from smotext_ray.api.vectors import decode_vectors
    from smotext_ray.utils.files import new_file, whole_file

    rows = failed = 0
    with whole_file(new_file(options.output)) as file:
        writer: pq.ParquetWriter | None = None
        for table in decode_vectors(
            options.vectors, options.column, _config(options), options.seed
        ):
            writer = writer or pq.ParquetWriter(file, table.schema)
            writer.write_table(table)
            rows, failed = rows + len(table), failed + table["text"].null_count
        if writer is not None:
            writer.close()
    without = f", {failed} of them without a text" if failed else ""
    say(f"Wrote {rows} rows to {options.output}{without}.")
    return DONE


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", default="offline", metavar="NAME", help="default: offline")
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="any setting")


def _config(options: argparse.Namespace) -> RunConfig:
    from smotext_ray.api.interpolate import WITHOUT_GATE
    from smotext_ray.config.load import load_config

    return load_config(options.preset, options.config, options.overrides, base=WITHOUT_GATE)
