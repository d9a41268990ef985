"""What the length of a text and the ban of repeated tokens do to decoded texts.

    python benchmarks/lengths.py --dataset r8 --rows 64

Points half way between a text and a neighbor of its class, decoded under every pair of
`decoder.min_length` and `decoder.no_repeat_ngram`: cosine of the greedy text and of the best of
four sampled ones to the point, their words relative to the parents', how many were cut off at
`decoder.max_tokens`, and the tokens that it took.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from utility import FILES, PACKAGED, read_split

from smotext_ray.config.load import load_config
from smotext_ray.errors import UserError
from smotext_ray.plan.vectors import unit

LEAST = (0.0, 0.5, 0.8)
NGRAMS = (0, 4)
CANDIDATES, TEMPERATURE, LAM, NEIGHBORS = 4, 0.7, 0.5, 5


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, choices=[*PACKAGED, *FILES])
    parser.add_argument("--data", type=Path, help="directory of the sets that are not packaged")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=96)
    options = parser.parse_args()
    try:
        show(options)
    except UserError as error:
        print(f"lengths.py: error: {error}", file=sys.stderr)
        return 2
    return 0


def show(options: argparse.Namespace) -> None:
    """Print the table of a dataset."""
    from smotext_ray.models.load import load_decoder, load_encoder

    config = load_config("offline", options={"decoder.max_tokens": options.max_tokens})
    encoder = load_encoder(config)
    points, parents = points_of(read_split(options, "train"), options.rows, encoder)
    print(
        "| min_length | no_repeat_ngram | greedy | best of 4 | words, of parents' | cut | tokens |"
    )
    print("|---|---|---|---|---|---|---|")
    for ngram in NGRAMS:
        given = {"decoder.no_repeat_ngram": ngram, "decoder.min_length": max(LEAST)}
        given["decoder.max_tokens"] = options.max_tokens
        decoder = load_decoder(load_config("offline", options=given))
        lengths = np.mean([decoder.count_tokens(texts) for texts in parents], axis=0)
        words = np.mean([[len(text.split()) for text in texts] for texts in parents], axis=0)
        for least in LEAST:
            decoder.min_length = least
            show_row(least, ngram, decoder, encoder, points, (lengths, parents[0]), words)
        del decoder


def points_of(train: Any, rows: int, encoder: Any) -> tuple[np.ndarray, list[list[str]]]:
    """Points half way between random texts and random near ones of their class, and both texts."""
    labels = np.asarray(train["label"].to_pylist())
    rng = np.random.default_rng(0)
    some = rng.permutation(len(labels))[: 20 * rows]
    texts = [train["text"][int(i)].as_py() for i in some]
    x, labels = np.asarray(encoder.encode(texts)), labels[some]
    near = np.where(labels[:, None] == labels, x @ x.T, -2)
    np.fill_diagonal(near, -2)
    order = np.argsort(-near, axis=1)[:, :NEIGHBORS]
    kept = [i for i in range(len(some)) if near[i, order[i, -1]] > -2][:rows]
    other = [int(order[i, rng.integers(NEIGHBORS)]) for i in kept]
    points = unit((1 - LAM) * x[kept] + LAM * x[other])
    return points.astype(np.float32), [[texts[i] for i in kept], [texts[i] for i in other]]


def show_row(
    least: float,
    ngram: int,
    decoder: Any,
    encoder: Any,
    points: np.ndarray,
    looks: tuple[np.ndarray, list[str]],
    words: np.ndarray,
) -> None:
    """Decode greedily and by sampling, and print a line of the table."""
    best = []
    for n, temperature in ((1, 0.0), (CANDIDATES, TEMPERATURE)):
        decoder.set_sampling(n, temperature)
        found = decoder.decode(points, range(len(points)), *looks)
        flat = [text for each in found for text in each.texts]
        cosines = (np.asarray(encoder.encode(flat)).reshape(len(points), n, -1)
                   * points[:, None]).sum(-1)  # fmt: skip
        best.append(cosines.max(axis=1).mean())
    cut = np.mean([reason == "length" for each in found for reason in each.finish_reasons])
    made = np.mean([[len(text.split()) for text in each.texts] for each in found], axis=1)
    tokens = np.mean([sum(each.num_tokens) for each in found])
    share = np.median(made / words)
    print(f"| {least} | {ngram} | {best[0]:.3f} | {best[1]:.3f} | {share:.2f} | {cut:.0%} | "
          f"{tokens:.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
