"""``smotext directions``: write principal directions of public texts to a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from smotext_ray.config.schema import EncoderConfig


def add_directions_command(commands: Any, command: Callable[..., Any]) -> None:
    """Add the command to those of ``smotext``; same arguments as `add_evaluation_commands`."""
    parser = command(
        commands, "directions", directions, "compute public directions for privacy.epsilon"
    )
    parser.add_argument("--input", required=True, help="table or .txt file of public texts")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--output", required=True, type=Path, help="file.safetensors")
    parser.add_argument("overrides", nargs="*", metavar="encoder.key=value")


def directions(options: argparse.Namespace) -> int:
    """``smotext directions``: compute directions from a table of public texts."""
    from smotext_ray.cli.exit_codes import DONE
    from smotext_ray.config.load import load_config
    from smotext_ray.corpus.texts import read_texts
    from smotext_ray.models.files import locate_model
    from smotext_ray.privacy.directions import principal_directions, source_of, write_directions
    from smotext_ray.utils.files import new_file

    output = new_file(options.output)
    encoder = load_config("offline", overrides=options.overrides).encoder
    texts = read_texts(options.input, options.text_column)
    found = principal_directions(_embedded(texts, encoder))
    source = source_of(Path(options.input).name, texts)
    write_directions(found, output, encoder, locate_model(encoder.model).sha256, source)
    return DONE


def _embedded(texts: list[str], settings: EncoderConfig) -> Iterator[np.ndarray]:
    from smotext_ray.config.schema import RunConfig
    from smotext_ray.models.load import load_encoder
    from smotext_ray.privacy.directions import CHUNK

    encoder = load_encoder(RunConfig(encoder=settings))
    for start in range(0, len(texts), CHUNK):
        yield encoder.encode(texts[start : start + CHUNK], settings.batch_size)
        print(f"embedded {min(start + CHUNK, len(texts))} of {len(texts)} texts", file=sys.stderr)
