"""Compare bridges on the same texts and points, greedily decoded.

    python benchmarks/compare_bridges.py default bridges/mine --rows 150 --most-words 60 \\
        --labeled trec6-train.parquet demo:reuters-r8 --unlabeled held_out.parquet

A few random texts of each file are decoded from their embeddings, and as many points half way
between each of them and a neighbor (of its class, if there are labels). Printed is the mean cosine
of the decoded texts to the vectors that they were decoded from; for every bridge but the first,
also the difference from the first, with its standard error over the texts. Each bridge is measured
in a process of its own, without a least length of the texts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from figures import save, show

from smotext_ray.corpus.texts import read_labeled_texts
from smotext_ray.errors import UserError
from smotext_ray.plan.interpolation import interpolate
from smotext_ray.plan.vectors import unit
from smotext_ray.training.points import looks_between, neighbor_pairs

T = TypeVar("T")
EVERY_ROW = 2**62
LAM = 0.5
SOURCES = ("a text", "half way")


class Drawn(NamedTuple):
    """Random texts of a file, and the class of each."""

    name: str
    texts: list[str]
    labels: np.ndarray


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument(
        "--unlabeled", nargs="*", default=[], help="tables with text, or .txt files"
    )
    options = parser.parse_args()
    try:
        drawn = [draw(options, file, "label") for file in options.labeled]
        drawn += [draw(options, file, None) for file in options.unlabeled]
        found = {bridge: alone(measured, bridge, drawn) for bridge in options.bridges}
    except UserError as error:
        print(f"compare_bridges.py: error: {error}", file=sys.stderr)
        return 2
    show(*table(found))
    if options.output:
        save(options.output, cosines=found)
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `draw`, and those of any comparison of bridges."""
    parser.add_argument("bridges", nargs="+", help="directories, hub names or 'default'")
    parser.add_argument("--labeled", nargs="*", default=[], help="tables with text and label")
    parser.add_argument("--rows", type=int, default=150, help="texts per file")
    parser.add_argument("--most-words", type=int, default=60, help="longer texts are truncated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file with all results")


def draw(options: argparse.Namespace, file: str, label_column: str | None) -> Drawn:
    """Random texts of a file, truncated."""
    texts, labels = read_labeled_texts(file, "text", label_column, EVERY_ROW)
    rows = np.random.default_rng(options.seed).permutation(len(texts))[: options.rows]
    owners = np.array(["" if labels is None else str(labels[row]) for row in rows])
    cut = [" ".join(texts[row].split()[: options.most_words]) for row in rows]
    return Drawn(Path(file).stem, cut, owners)


def alone(measure: Callable[..., T], *given: Any) -> T:
    """The result of a function in another process: two engines need the memory of two."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *given).result()


def loaded(bridge: str, **settings: Any) -> tuple[Any, Any]:
    """The encoder, and a decoder with the bridge and these settings."""
    from smotext_ray.config.load import load_config
    from smotext_ray.models.load import load_decoder, load_encoder

    given = {f"decoder.{name}": value for name, value in settings.items()}
    given |= {"bridge.path": bridge} if bridge != "default" else {}
    config = load_config("offline", None, [], given)
    return load_encoder(config), load_decoder(config, own_process=False)


def measured(bridge: str, drawn: list[Drawn]) -> dict[str, dict[str, list[float]]]:
    """Cosines of all decoded texts, by set of texts and `SOURCES`."""
    encoder, decoder = loaded(bridge, num_candidates=1, temperature=0.0, min_length=0.0)
    found = {}
    for name, texts, labels in drawn:
        x = unit(encoder.encode(texts))
        pairs = neighbor_pairs(texts, labels, x, np.random.default_rng(0))
        a, b = pairs.T
        lams, lengths = np.full(len(a), LAM, np.float32), np.asarray(decoder.count_tokens(texts))
        half_way = interpolate(x[a], x[b], lams, True)
        of_points = (
            (x, lengths, texts),
            (half_way, *looks_between(texts, lengths, pairs, lams)),
        )
        found[name] = {
            source: cosines(*some, encoder, decoder)
            for source, some in zip(SOURCES, of_points, strict=True)
        }
        print(bridge, name, *(f"{np.mean(c):.3f}" for c in found[name].values()), flush=True)
    return found


def cosines(
    points: np.ndarray, lengths: np.ndarray, examples: list[str], encoder: Any, decoder: Any
) -> list[float]:
    """Cosine of the greedy text of each point to it."""
    made = decoder.decode(points, range(len(points)), lengths, examples)
    texts = [each.texts[0] for each in made]
    return [float(c) for c in (unit(encoder.encode(texts)) * points).sum(1)]


def table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Means and differences from the first bridge, then their mean over the sets of texts."""
    first, *others = found
    named = {bridge: Path(bridge).name for bridge in found}
    head = ["texts", "decoded from", named[first]]
    head += [cell for b in others for cell in (named[b], f"{named[b]} - {named[first]}")]
    rows = []
    for source in SOURCES:
        overall: dict[str, list[tuple[float, float]]] = {bridge: [] for bridge in others}
        for name in found[first]:
            before = np.array(found[first][name][source])
            row = [name, source, f"{before.mean():.3f}"]
            for bridge in others:
                now = np.array(found[bridge][name][source])
                gain, error = (now - before).mean(), (now - before).std() / len(now) ** 0.5
                overall[bridge].append((gain, error))
                row += [f"{now.mean():.3f}", f"{gain:+.3f} ± {error:.3f}"]
            rows.append(row)
        last = ["mean", source, ""]
        for bridge in others:
            gains, errors = np.array(overall[bridge]).T
            last += ["", f"{gains.mean():+.3f} ± {(errors**2).sum() ** 0.5 / len(errors):.3f}"]
        rows.append(last)
    return head, rows


if __name__ == "__main__":
    sys.exit(main())
