"""``smotext bridge points``: points between texts, each with a text close to it and one far off."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from smotext_ray.cli.exit_codes import DONE
from smotext_ray.cli.terminal import say
from smotext_ray.cli.train_bridge import add_texts
from smotext_ray.errors import UserError


def add_points_command(commands: Any, command: Callable[..., Any]) -> None:
    """Add ``points`` to the commands of ``smotext bridge``; see `add_bridge_commands`."""
    parser = command(commands, "points", points, "create training data at points between texts")
    add = parser.add_argument
    add_texts(parser)
    add("--output", required=True, metavar="FILE", help="parquet file for stage 3")
    add("--rows", type=int, default=10_000, metavar="N", help="number of points (default 10000)")
    add(
        "--candidates",
        type=int,
        default=8,
        metavar="N",
        help="texts per point, of which the nearest and the farthest are kept (default 8)",
    )
    add("--bridge", metavar="BRIDGE", help="directory or hub name (default: the preset's)")
    add("--preset", default="offline", metavar="NAME", help="preset of models (default offline)")
    add("--seed", type=int, default=0, metavar="N", help="default 0")
    add("overrides", nargs="*", metavar="section.key=value", help="any other setting")


def check_rows(rows: int, least: int) -> None:
    """Refuse a ``--rows`` that is too small."""
    if rows < least:
        raise UserError(f"--rows is {rows}; it must be at least {least}.")


def points(options: argparse.Namespace) -> int:
    """``smotext bridge points``: decode points and write two texts of each."""
    import numpy as np

    from smotext_ray.config.load import load_config
    from smotext_ray.corpus.texts import read_texts
    from smotext_ray.utils.files import new_file

    given: dict[str, Any] = {"decoder.num_candidates": options.candidates}
    if options.bridge:
        given["bridge.path"] = options.bridge
    config = load_config(options.preset, None, options.overrides, given)
    check_rows(options.rows, 2)
    if options.candidates < 2:
        raise UserError(f"--candidates is {options.candidates}; it must be at least 2.")
    output = new_file(options.output)
    texts = read_texts(options.input, options.text_column)
    drawn = np.random.default_rng([options.seed, 7]).permutation(len(texts))[: options.rows]
    from smotext_ray.api.loaded import decoder_of, encoder_of
    from smotext_ray.models.load import check_models
    from smotext_ray.training.points import make_points, write_points

    check_models(config)
    some = [texts[row] for row in drawn]
    made = make_points(some, encoder_of(config), decoder_of(config), options.seed)
    rows = write_points(made, output)
    start = options.bridge or "default"
    say(f"{rows} points; next: smotext train-bridge --stage 3 --input {output} --from {start}")
    return DONE
