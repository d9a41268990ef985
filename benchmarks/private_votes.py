"""The other way to private texts: an LLM told the class names, and noised votes of the corpus.

    python benchmarks/private_votes.py --corpus DIR/corpus.parquet --test DIR/test.parquet \\
        --output OUT

An LLM is asked for texts by the names of the classes alone; each private record votes for the text
of its class whose embedding is nearest; the votes get Gaussian noise, and those of each class with
the most votes are kept: one round of private evolution as in [1]_ and, for texts, [2]_, without its
variations, which a small LLM cannot make. A record has one vote, so adding or removing it moves all
votes by 1, less than the sqrt(2) of a release's sums. Prints the accuracy of classifiers trained on
equally many texts, whose settings are chosen on these: drawn at random (`class names alone`), and
by votes with and without noise. Compare them with a run's texts at the same epsilon
(benchmarks/privacy.py, which writes such a corpus and test table). Texts are kept in the output
directory. Noise is numpy's here: a measurement, and no release.

References
----------
.. [1] Lin et al.: Differentially private synthetic data via foundation model APIs 1: images.
   ICLR 2024, arXiv:2305.15560.
.. [2] Xie et al.: Differentially private synthetic data via foundation model APIs 2: text.
   ICML 2024, arXiv:2403.01749.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from diversity import plain_llm
from figures import save, show

from smotext_ray.config.load import load_config
from smotext_ray.config.schema import RunConfig
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.statistics import interval
from smotext_ray.evaluation.utility.classifiers import CLASSIFIERS
from smotext_ray.evaluation.utility.features import unit_rows
from smotext_ray.evaluation.utility.training_sets import TrainingSet
from smotext_ray.evaluation.utility.trials import score_arms
from smotext_ray.models.load import load_encoder
from smotext_ray.privacy.gaussian import largest_mu

NAMES_ALONE, WITHOUT_NOISE = "class names alone", "votes without noise"
USED = ("embedding", "tfidf")


def main() -> int:
    options = _options()
    config = load_config("offline", options={"input.path": str(options.corpus)})
    corpus, test = (pq.read_table(file) for file in (options.corpus, options.test))
    labels = sorted(set(corpus["label"].to_pylist()))
    generated = texts_of_names(config, labels, options)
    encoder = load_encoder(config)
    real, held_out, texts = (rows_of(table, encoder) for table in (corpus, test, generated))
    votes = count_votes(real, texts)
    found: dict[str, dict[str, list[float]]] = {}
    for draw in range(options.draws):
        for name, noised in ways(votes, options, draw).items():
            kept = most_voted(noised, texts.labels, options.new)
            chosen = texts.take(kept)
            arm = TrainingSet(chosen, np.arange(len(chosen))[:, None], real=0)
            used = {key: CLASSIFIERS[key] for key in USED}
            scores = score_arms({name: arm}, held_out, draw, used, encoder.encode)
            for (classifier, _), score in scores.items():
                found.setdefault(name, {}).setdefault(classifier, []).append(score.accuracy)
        print(f"draw {draw} done", flush=True)
    show(["texts", *USED], [[name, *map(_cell, of.values())] for name, of in found.items()])
    save(options.output / "votes.json", accuracy=found)
    return 0


def texts_of_names(config: RunConfig, labels: list[str], options: argparse.Namespace) -> pa.Table:
    """Distinct texts of the plain LLM for each class name."""
    file = options.output / "texts.parquet"
    if file.exists():
        return pq.read_table(file)
    asked = [label for label in labels for _ in range(options.texts)]
    engine, prompts = plain_llm(config, asked)
    answers = engine.generate(prompts, list(range(len(asked))))
    pairs = zip(asked, (answer.texts[0] for answer in answers), strict=True)
    distinct = dict.fromkeys((label, text) for label, text in pairs if text.strip())
    columns = zip(*distinct, strict=True)
    table = pa.table(dict(zip(("label", "text"), map(list, columns), strict=True)))
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    return table


def rows_of(table: pa.Table, encoder: Any) -> Rows:
    """A table's texts with their embeddings."""
    texts = table["text"].to_pylist()
    return Rows(texts, encoder.encode(texts), table["label"].to_pylist())


def count_votes(real: Rows, texts: Rows) -> np.ndarray:
    """How many records of its class are nearest to each text; float64, shape (texts,)."""
    of_record, of_text = np.asarray(real.labels), np.asarray(texts.labels)
    similarity = unit_rows(real) @ unit_rows(texts).T
    similarity[of_record[:, None] != of_text] = -np.inf
    votes = np.zeros(len(texts))
    np.add.at(votes, similarity.argmax(axis=1), 1.0)
    return votes


def ways(votes: np.ndarray, options: argparse.Namespace, draw: int) -> dict[str, np.ndarray]:
    """What to rank the texts by; ties are broken at random."""
    random = np.random.default_rng([options.seed, draw])
    lot = random.random(len(votes))
    found = {NAMES_ALONE: lot}
    for epsilon in options.epsilons:
        scale = 1 / largest_mu(epsilon, options.delta)
        found[f"votes, epsilon {epsilon:g}"] = votes + random.normal(0, scale, len(votes))
    return found | {WITHOUT_NOISE: votes + lot}


def most_voted(noised: np.ndarray, labels: list[str], number: int) -> np.ndarray:
    """Rising numbers of each class's texts with the most votes."""
    names = np.asarray(labels)
    kept = []
    for label in sorted(set(labels)):
        rows = np.flatnonzero(names == label)
        kept.append(rows[np.argsort(-noised[rows], kind="stable")[:number]])
    return np.sort(np.concatenate(kept))


def _cell(values: list[float]) -> str:
    found = interval(values)
    bounds = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
    return f"{found.mean:.2f}{bounds}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", required=True, type=Path, help="columns text and label")
    parser.add_argument("--test", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--texts", type=int, default=200, help="asked of a class (default 200)")
    parser.add_argument("--new", type=int, default=20, help="kept of a class (default 20)")
    parser.add_argument("--epsilons", nargs="+", type=float, default=[1.0, 2.0, 8.0])
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for file in (options.corpus, options.test):
        if not file.exists():
            parser.error(f"{file} is not there; benchmarks/privacy.py writes such a table.")
    return options


if __name__ == "__main__":
    sys.exit(main())
