"""What minutes of adaptation do to decoded texts.

    python benchmarks/adaptation.py --dataset r8 --minutes 3 --rows 64

The bridge learns from some texts of the training split, as with `smotext augment --adapt`. Then the
bridge before and the one after decode the same points: the embeddings of texts of the test split
(greedily), and points half way between texts of the training split and neighbors of their class
(greedily, and four times by sampling). Printed are the cosine of the greedy text and of the best of
the sampled ones to the point, how often the greedy text of a test text is closest to its own source
among them, the median of the words of all texts relative to those of the source or parents, and how
many of them are copies of a training text (80% of their distinct word 3-grams). The LLM runs as in
the training, without vLLM.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lengths import points_of
from utility import FILES, PACKAGED, read_split

from smotext_ray.config.load import load_config
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.models.style import style_of
from smotext_ray.plan.vectors import unit

CANDIDATES, TEMPERATURE = 4, 0.7
HALF_WAY = "half way"
HEAD = ("points", "bridge", "greedy", "best of 4", "source first", "words", "copies")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, choices=[*PACKAGED, *FILES])
    parser.add_argument("--data", type=Path, help="directory of the sets that are not packaged")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--texts", type=int, default=1000, help="of the training split")
    parser.add_argument("--rows", type=int, default=64, help="points of each kind")
    parser.add_argument("--max-tokens", type=int, default=96)
    options = parser.parse_args()
    try:
        show(options)
    except UserError as error:
        print(f"adaptation.py: error: {error}", file=sys.stderr)
        return 2
    return 0


def show(options: argparse.Namespace) -> None:
    """Adapt the bridge to a dataset and print the table."""
    from smotext_ray.models.load import load_encoder
    from smotext_ray.pipeline.adapt import training_config
    from smotext_ray.training.adapt import adapt

    config = load_config("offline", options={"decoder.max_tokens": options.max_tokens})
    encoder = load_encoder(config)
    train, test = (_texts(read_split(options, split), n, seed=1) for split, n in (
        ("train", options.texts), ("test", options.rows)))  # fmt: skip
    half_way, parents = points_of(read_split(options, "train"), options.rows, encoder)
    with tempfile.TemporaryDirectory() as directory:
        adapted = Path(directory, "bridge")
        x, began = unit(encoder.encode(train)), time.monotonic()
        done = adapt(
            train,
            x,
            training_config(config),
            encoder,
            options.minutes,
            adapted,
            max_tokens=options.max_tokens,
            log=lambda line: print(line, file=sys.stderr, flush=True),
        )
        print(f"{time.monotonic() - began:.0f} s: {done}\n")
        print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
        bridges = {"before": "default"} | ({"after": str(adapted)} if done.is_kept else {})
        for name, path in bridges.items():
            _show_bridge(
                name,
                load_config(options={"bridge.path": path}, base=config),
                encoder,
                {
                    "test texts": (unit(encoder.encode(test)), [test]),
                    HALF_WAY: (half_way, parents),
                },
                [*train, *parents[0], *parents[1]],
            )


def _texts(table: Any, number: int, seed: int) -> list[str]:
    rows = np.random.default_rng(seed).permutation(len(table))[:number]
    return [table["text"][int(row)].as_py() for row in rows]


def _show_bridge(
    name: str,
    config: RunConfig,
    encoder: Any,
    points: dict[str, tuple[np.ndarray, list[list[str]]]],
    known: list[str],
) -> None:
    """Decode both kinds of points with a bridge, and print a line for each."""
    import torch

    from smotext_ray.pipeline.adapt import training_config
    from smotext_ray.training.frozen import FrozenModels
    from smotext_ray.training.lengths import count_tokens

    training = training_config(config)
    frozen = FrozenModels(training)
    bridge = frozen.new_bridge(training)
    torch.manual_seed(0)
    for kind, (x, sources) in points.items():
        most = config.decoder.max_tokens
        lengths = np.mean([count_tokens(texts, frozen) for texts in sources], axis=0)
        styles = style_of(sources[0], np.minimum(lengths, most))
        decode = partial(_decoded, frozen, bridge, encoder, x, styles, most)
        texts, y = decode(1, 0.0)
        own = (y[:, 0] * x).sum(1)
        first = best = ""
        if kind == HALF_WAY:
            more, z = decode(CANDIDATES, TEMPERATURE)
            texts = np.concatenate([texts, more], axis=1)
            best = _mean((z * x[:, None]).sum(-1).max(1))
        else:
            first = f"{((y[:, 0] @ x.T).argmax(1) == np.arange(len(x))).mean():.0%}"
        of_sources = np.mean([[len(text.split()) for text in each] for each in sources], axis=0)
        words = np.array([[len(text.split()) for text in each] for each in texts])
        cells = (
            *(kind, name, _mean(own), best, first),
            f"{np.median(words / of_sources[:, None]):.2f}",
            f"{_copied([str(text) for text in texts.ravel()], known):.1%}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


def _decoded(
    frozen: Any,
    bridge: Any,
    encoder: Any,
    x: np.ndarray,
    styles: np.ndarray,
    max_tokens: int,
    number: int,
    temperature: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Texts of shape (points, number), and their embeddings, of shape (points, number, d)."""
    from smotext_ray.training.generation import generate

    points, styles = (np.repeat(each, number, axis=0) for each in (x, styles))
    texts = generate(frozen, bridge, points, max_tokens, temperature, styles)
    y = unit(encoder.encode(texts))
    return np.array(texts, object).reshape(len(x), number), y.reshape(len(x), number, -1)


def _copied(texts: list[str], known: list[str]) -> float:
    from smotext_ray.evaluation.leakage.copies import copies

    return copies(texts, [[known[0]]] * len(texts), known).near_any_share


def _mean(values: np.ndarray) -> str:
    """A mean with its standard error."""
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


if __name__ == "__main__":
    sys.exit(main())
