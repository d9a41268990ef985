"""What minutes of adaptation do to decoded texts.

    python benchmarks/adaptation.py --dataset r8 --minutes 3 --rows 64

The bridge learns from some texts of the training split, as with `smotext augment --adapt`. Then the
bridge before and the one after decode the same points: the embeddings of texts of the test split,
and points half way between texts of the training split and neighbors of their class. Printed are
the cosine of the greedy text and of the best of four sampled ones to the point, how often the
greedy text of a test text is closest to its own source among them, the median of the words relative
to those of the source or parents, how many were cut off at `decoder.max_tokens`, and how many of
the sampled texts are copies of a training text (80% of their distinct word 3-grams).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from lengths import points_of
from utility import FILES, PACKAGED, read_split

from smotext_ray.config.load import load_config
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.plan.vectors import unit

CANDIDATES, TEMPERATURE = 4, 0.7
HEAD = (
    *("points", "bridge", "greedy", "best of 4", "source first", "words, of source's"),
    *("cut", "copies"),
)


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
                    "half way": (half_way, parents),
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
    from smotext_ray.models.load import load_decoder

    decoder = load_decoder(config, own_process=False)
    for kind, (x, sources) in points.items():
        (greedy, _), (sampled, found) = (
            _decoded(decoder, encoder, x, *how) for how in ((1, 0.0), (CANDIDATES, TEMPERATURE))
        )
        near = greedy[:, 0] @ x.T
        own = np.diag(near)
        first = (near.argmax(1) == np.arange(len(x))).mean() if len(sources) == 1 else None
        best = (sampled * x[:, None]).sum(-1).max(1)
        cut = np.mean([reason == "length" for each in found for reason in each.finish_reasons])
        words = np.mean([[len(text.split()) for text in texts] for texts in sources], axis=0)
        made = np.mean([[len(text.split()) for text in each.texts] for each in found], axis=1)
        cells = (
            *(kind, name, f"{own.mean():.3f} ± {_error(own):.3f}"),
            f"{best.mean():.3f} ± {_error(best):.3f}",
            "" if first is None else f"{first:.0%}",
            *(f"{np.median(made / words):.2f}", f"{cut:.0%}"),
            f"{_copied([text for each in found for text in each.texts], known):.1%}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


def _decoded(
    decoder: Any, encoder: Any, x: np.ndarray, number: int, temperature: float
) -> tuple[np.ndarray, list[Any]]:
    """Embeddings of shape (points, number, d) of the decoded texts, and the texts."""
    decoder.set_sampling(number, temperature)
    found = decoder.decode(x, range(len(x)))
    flat = [text for each in found for text in each.texts]
    return unit(encoder.encode(flat)).reshape(len(x), number, -1), found


def _copied(texts: list[str], known: list[str]) -> float:
    from smotext_ray.evaluation.leakage.copies import copies

    return copies(texts, [[known[0]]] * len(texts), known).near_any_share


def _error(values: np.ndarray) -> float:
    """Standard error of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


if __name__ == "__main__":
    sys.exit(main())
