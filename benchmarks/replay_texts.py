"""Texts that a bridge writes at random directions, for adaptations of it to replay.

    python benchmarks/replay_texts.py --texts 377 --output replay.txt

A file of that name in a bridge's directory is read by `smotext augment --adapt`. The directions are
uniform on the unit sphere; a text is kept if it ended by itself, has at least three words and is
not there yet.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from smotext_ray.config.load import load_config
from smotext_ray.errors import UserError
from smotext_ray.plan.vectors import unit
from smotext_ray.utils.files import whole_file

TEMPERATURE, MOST_TOKENS, LEAST_WORDS, AT_ONCE = 0.7, 96, 3, 64


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bridge", default="default")
    parser.add_argument("--texts", type=int, default=377)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        texts = written(options.bridge, options.texts, options.seed)
    except UserError as error:
        print(f"replay_texts.py: error: {error}", file=sys.stderr)
        return 2
    with whole_file(options.output) as file:
        file.write("".join(f"{text}\n" for text in texts).encode())
    print(f"{len(texts)} texts")
    return 0


def written(bridge: str, number: int, seed: int) -> list[str]:
    """Different texts of a bridge, at least ``number``."""
    import torch

    from smotext_ray.pipeline.adapt import training_config
    from smotext_ray.training.frozen import FrozenModels
    from smotext_ray.training.generation import generate

    config = training_config(load_config("offline", options={"bridge.path": bridge}))
    frozen = FrozenModels(config)
    start = frozen.new_bridge(config)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    texts: dict[str, None] = {}
    while len(texts) < number:
        points = unit(rng.standard_normal((AT_ONCE, frozen.encoder_dim)).astype(np.float32))
        made = generate(frozen, start, points, MOST_TOKENS, TEMPERATURE)
        lengths = [len(ids) for ids in frozen.tokenizer(made)["input_ids"]]
        for text, length in zip(made, lengths, strict=True):
            line = " ".join(text.split())
            if length < MOST_TOKENS - 6 and len(line.split()) >= LEAST_WORDS:
                texts[line] = None
        print(f"{len(texts)} texts", file=sys.stderr, flush=True)
    return list(texts)


if __name__ == "__main__":
    sys.exit(main())
