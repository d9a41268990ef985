"""What the new texts give away, with and without epsilon, and what epsilon costs.

    python benchmarks/privacy.py --dataset reuters-r8 --output runs/privacy

A part of each class is the corpus, as large a part of the rest are the texts to test on and the
attack's non-members, so that both are drawn alike. Canaries are planted in the corpus. One run has
no epsilon, the others have; all are evaluated alike by `smotext evaluate`. A interrupted benchmark
resumes with the same command.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from smotext_ray.cli.main import main as smotext
from smotext_ray.corpus.demo import DATASETS, load_dataset


def main() -> int:
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    corpus = plant(options)
    runs = {}
    for epsilon in [None, *options.epsilons]:
        runs[epsilon] = str(options.output / f"run-{epsilon or 'without'}")
        augment(corpus, runs[epsilon], epsilon, options)
    for epsilon, directory in runs.items():
        others = [other for other in runs.values() if other != directory]
        evaluate(corpus, directory, epsilon, others, options)
    show(options)
    return 0


def plant(options: argparse.Namespace) -> Path:
    """Write corpus and test texts, and the corpus with canaries."""
    planted = options.output / "planted" / "corpus.parquet"
    if planted.exists():
        return planted
    table = load_dataset(options.dataset)
    labels, rng = np.asarray(table["label"].to_pylist()), np.random.default_rng(options.seed)
    inside, outside = [], []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        size = min(options.rows, len(rows) // 2)
        inside.append(rows[:size])
        outside.append(rows[size : 2 * size])
    pq.write_table(table.take(np.sort(np.concatenate(inside))), options.output / "corpus.parquet")
    pq.write_table(table.take(np.sort(np.concatenate(outside))), options.output / "test.parquet")
    planted.parent.mkdir(exist_ok=True)
    run("canaries", "--input", options.output / "corpus.parquet", "--output", planted,
        "--number", options.canaries, "--seed", options.seed)  # fmt: skip
    return planted


def augment(corpus: Path, output: str, epsilon: float | None, options: argparse.Namespace) -> None:
    """Make new texts of every class."""
    labels = pq.read_table(corpus, columns=["label"])["label"].to_pylist()
    kept = 0 if epsilon else 1  # a private result has no originals
    wanted = {label: kept * labels.count(label) + options.new for label in sorted(set(labels))}
    delta = []
    if epsilon:  # each run stands for one of its own, so it has a ledger of its own
        delta = [f"privacy.epsilon={epsilon}", f"privacy.delta={options.delta}",
                 f"privacy.ledger={options.output}/ledger-{epsilon}"]  # fmt: skip
    run("augment", "--input", corpus, "--output", output, "--seed", options.seed,
        "--sampling-strategy", json.dumps(wanted), *delta, accepted=(0, 3))  # fmt: skip


def evaluate(
    corpus: Path, of: str, epsilon: float | None, others: list[str], options: argparse.Namespace
) -> None:
    """Write a run's report."""
    run("evaluate", "--run", of, "--test", options.output / "test.parquet", "--quick",
        "--output", report_of(of), "--canaries", corpus.parent / "canaries.json",
        "--compare", *others, *(["--corpus", corpus] if epsilon else []))  # fmt: skip


def run(command: str, *arguments: Any, accepted: tuple[int, ...] = (0,)) -> None:
    """A command of `smotext`."""
    code = smotext([command, *map(str, arguments)])
    if code not in accepted:
        sys.exit(code)


def report_of(run_directory: str) -> Path:
    """Where the report of a run is."""
    return Path(f"{run_directory}-report")


def show(options: argparse.Namespace) -> None:
    """Print the tables, as Markdown."""
    reports = {
        epsilon: json.loads(
            (
                report_of(str(options.output / f"run-{epsilon or 'without'}")) / "report.json"
            ).read_text()
        )
        for epsilon in [None, *options.epsilons]
    }
    names = list(dict.fromkeys(r["name"] for p in reports.values() for r in p["privacy"]["rows"]))
    print("| | " + " | ".join(f"epsilon {e:g}" if e else "none" for e in reports) + " |")
    print("|---" * (len(reports) + 1) + "|")
    for name in names:
        found = [{r["name"]: r["value"] for r in p["privacy"]["rows"]} for p in reports.values()]
        print(f"| {name} | " + " | ".join(_figure(values.get(name)) for values in found) + " |")
    utility = reports[None]["privacy"]["utility"]
    for classifier in dict.fromkeys(row["classifier"] for row in utility):
        for metric in ("accuracy", "macro_f1"):
            at = {r["epsilon"]: r for r in utility
                  if (r["classifier"], r["metric"]) == (classifier, metric)}  # fmt: skip
            figures = " | ".join(_figure(at[epsilon]) for epsilon in reports)
            print(f"| new texts alone, {classifier}, {metric} | {figures} |")


def _figure(value: Any) -> str:
    if isinstance(value, dict):
        bounds = (value.get("low"), value.get("high"))
        return f"{value['mean']:.3f}" + (
            "" if None in bounds else " ({:.3f} to {:.3f})".format(*bounds)
        )
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=DATASETS, default="reuters-r8")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--epsilons", nargs="+", type=float, default=[8.0])
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--rows", type=int, default=100, help="most of a class (default 100)")
    parser.add_argument("--new", type=int, default=100, help="texts a class (default 100)")
    parser.add_argument("--canaries", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
