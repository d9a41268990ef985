"""Does the gate need every row? Its verdicts with a few rows of each class, and with all.

    python benchmarks/reference_rows.py --output /tmp/rows \\
        --data demo:reuters-r8 demo:reuters-r52 TRAIN.parquet+TEST.parquet --run runs/demo

`--data` takes a corpus and, after a plus sign, held-out texts of its classes; of a demo dataset
these are its test split. The verdict is whether a held-out text is nearest to its own class, which
is all that depends on the rows. `--run` judges the samples of a run, which may have embedded any
rows: its corpus is embedded here. At most that number of rows per class is taken, those with the
smallest hashes, also of the classes that a run raises, whose rows it would take whole: so the
agreement in a run is about this or better. A row of a class of which not all are taken counts once,
or as the square root of the rows that it stands for, as in the gate, or as all of them.
Embeddings are kept in the output directory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from figures import save, show

from smotext_ray.config.schema import EncoderConfig, RunConfig
from smotext_ray.corpus.texts import read_labeled_texts
from smotext_ray.gate.reference import ClassReference, class_reference, sum_up
from smotext_ray.gate.reference_rows import last_hashes
from smotext_ray.run.corpus_files import corpus_table
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.tables import fixed_size_list, matrix
from smotext_ray.utils.hashes import id_hashes

ROWS = (200, 1000)
EVERY_ROW = 2**62
BLOCK = 512  # texts embedded between two lines of progress


def main() -> int:
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    found = []
    for name in options.data:
        corpus, _, test = name.partition("+")
        train = read_labeled_texts(corpus, "text", "label", EVERY_ROW)
        held_out = read_labeled_texts(test or f"{corpus}:test", "text", "label", EVERY_ROW)
        found += agreement(name, table(options, *train), table(options, *held_out))
        show_found(found)
    for uri in options.run:
        run = Run(uri)
        corpus = corpus_table(run, Manifest.read(run)).to_table(columns=["text", "label"])
        samples = run.table("samples/round-1").to_table(columns=["text", "label"])
        tables = (
            table(options, part["text"].to_pylist(), part["label"].to_pylist())
            for part in (corpus, samples)
        )
        found += agreement(f"samples of {uri}", *tables)
        show_found(found)
    save(options.output / "reference_rows.json", found=found)
    return 0


def agreement(name: str, corpus: pa.Table, judged: pa.Table) -> list[dict[str, Any]]:
    """The share of texts with the same verdict as from all rows, for numbers of rows per class."""
    labels = sorted(set(corpus["label"].to_pylist()))
    codes = np.array([labels.index(label) for label in corpus["label"].to_pylist()])
    hashes = id_hashes(corpus["id"])
    own = np.array([labels.index(label) for label in judged["label"].to_pylist()])
    whole = nearest(corpus, corpus, labels, judged)
    rows = []
    for most in ROWS:
        last = last_hashes([(codes, hashes)], np.zeros(len(labels), bool), most)
        some = corpus.filter(pa.array(hashes <= last[codes]))
        weights = np.bincount(codes) / np.bincount(codes[hashes <= last[codes]])
        ways = {
            "once": nearest(some, some, labels, judged),
            "root": nearest(some, corpus, labels, judged),
            "as all": weighted_reference(some, labels, weights).nearest_class(
                matrix(judged["embedding"])
            ),
        }
        for weighting, classes in ways.items():
            rows.append(
                {
                    "data": name,
                    "rows per class": most,
                    "each counts": weighting,
                    "embedded": len(some) / len(corpus),
                    "texts": len(judged),
                    "same verdict": float(((classes == own) == (whole == own)).mean()),
                    "right class, all rows": float((whole == own).mean()),
                    "right class": float((classes == own).mean()),
                }
            )
    return rows


def nearest(some: pa.Table, corpus: pa.Table, labels: list[str], judged: pa.Table) -> np.ndarray:
    """The nearest class of each text, by the gate's reference of some rows of a corpus."""
    reference = sum_up(ds.dataset(some), labels, ds.dataset(corpus))[0]
    return reference.nearest_class(matrix(judged["embedding"]))


def weighted_reference(rows: pa.Table, labels: list[str], weights: np.ndarray) -> ClassReference:
    x = matrix(rows["embedding"]).astype(np.float64)
    codes = np.array([labels.index(label) for label in rows["label"].to_pylist()])
    weighted = x * weights[codes, None]
    sums = np.zeros((len(labels), x.shape[1]))
    np.add.at(sums, codes, weighted)
    counts = np.bincount(codes) * weights
    return class_reference(counts, sums, weighted.T @ x, np.empty(0, np.int64))


def table(options: argparse.Namespace, texts: list[str], labels: Any) -> pa.Table:
    """The texts with their embeddings; those that were embedded before are read."""
    from smotext_ray.models.load import load_encoder
    from smotext_ray.utils.text import text_hash

    file = options.output / f"{text_hash(chr(0).join(texts)) % 2**64:016x}.npy"
    if not file.exists():
        config = RunConfig(encoder=EncoderConfig())
        encoder = load_encoder(config)
        parts = []
        for start in range(0, len(texts), BLOCK):
            parts.append(encoder.encode(texts[start : start + BLOCK]))
            print(f"{start} of {len(texts)}", file=sys.stderr, flush=True)
        np.save(file, np.concatenate(parts))
    return pa.table(
        {
            "id": np.arange(len(texts)),
            "text": texts,
            "label": [str(label) for label in labels],
            "embedding": fixed_size_list(np.load(file)),
        }
    )


def show_found(found: list[dict[str, Any]]) -> None:
    shares = {"embedded", "same verdict", "right class, all rows", "right class"}
    rows = [
        [f"{value:.1%}" if key in shares else value for key, value in row.items()] for row in found
    ]
    show([*found[0]], rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--data", nargs="*", default=[], metavar="CORPUS[+TEST]")
    parser.add_argument("--run", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
