"""What of a run gives its corpus away, next to what it is worth: texts by the place of their point.

    python benchmarks/leakage.py --run runs/demo --test demo:reuters-r8 --output runs/leakage

A point at ``lam`` 0 or 1 is a real text. So only the texts whose point keeps a distance from both
ends are kept, for several distances, next to as many texts drawn at random. AUC is that of the
attack by the nearest synthetic text on all parents against the test texts, by class, weighted by
the number of test texts; macro-F1 is that of the tuned classifiers of `smotext evaluate`, trained
on all real rows and the texts kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from figures import save, show

from smotext_ray.errors import UserError
from smotext_ray.evaluation.inputs import EvaluationData, read_evaluation_data, read_held_out
from smotext_ray.evaluation.leakage.membership import auc
from smotext_ray.evaluation.utility.classifiers import score
from smotext_ray.evaluation.utility.training_sets import TrainingSet, of_real
from smotext_ray.evaluation.utility.tuned import TUNED
from smotext_ray.models.load import load_encoder
from smotext_ray.plan.vectors import unit
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest

DISTANCES = (0.0, 0.1, 0.2, 0.3)  # of lam from 0 and from 1
DRAWS = 200  # of as many texts, for the AUC; the classifiers are trained on the first


def main() -> int:
    options = _options()
    try:
        run = Run(options.run)
        config = Manifest.read(run).config
        held_out = read_held_out(run, options.test)
        encode = partial(load_encoder(config).encode, batch_size=config.encoder.batch_size)
        material = read_evaluation_data(run, held_out, encode)
    except UserError as error:
        print(f"leakage.py: error: {error}", file=sys.stderr)
        return 2
    rows = list(measured(material))
    head = ["lam", "texts", "AUC", "AUC of as many at random"]
    head += [f"macro-F1, {name}{of}" for name in TUNED for of in ("", ", of as many at random")]
    show(head, [[cell if isinstance(cell, str) else f"{cell:.3f}" for cell in row] for row in rows])
    save(Path(options.output) / "leakage.json", run=options.run, head=head, rows=rows)
    return 0


def measured(material: EvaluationData) -> Iterator[list[Any]]:
    """A row of the table for each distance."""
    lam_of = {sample["sample_id"]: sample["lam"] for sample in material.samples}
    lam = np.array([lam_of[sample_id] for sample_id in material.sample_ids])
    everything = of_real(material.real).joined(material.synthetic, material.parents)
    classifiers = {name: tuned.settled(everything, 0) for name, tuned in TUNED.items()}
    rng = np.random.default_rng(0)
    for distance in DISTANCES:
        kept = np.flatnonzero((lam >= distance) & (lam <= 1 - distance))
        draws = [np.sort(rng.permutation(len(lam))[: len(kept)]) for _ in range(DRAWS)]
        row = [f"{distance:g} to {1 - distance:g}", str(len(kept)), leak(material, kept)]
        row.append(float(np.mean([leak(material, drawn) for drawn in draws])))
        for classifier in classifiers.values():
            for texts in (kept, draws[0]):
                found = score(_with(material, texts), material.test, classifier, 0)
                row.append(found.macro_f1)
        yield row


def leak(material: EvaluationData, texts: np.ndarray) -> float:
    """The AUC of the attack with these synthetic texts."""
    x, z, y = (unit(rows.embeddings) for rows in (material.real, material.test, material.synthetic))
    real, test, new = (
        np.asarray(rows.labels) for rows in (material.real, material.test, material.synthetic)
    )
    used = np.unique(material.parents)
    found, weights = [], []
    for label in sorted(set(new)):
        made = texts[new[texts] == label]
        members, others = used[real[used] == label], np.flatnonzero(test == label)
        if len(made) and len(members) and len(others):
            found.append(auc((x[members] @ y[made].T).max(1), (z[others] @ y[made].T).max(1)))
            weights.append(len(others))
    return float(np.average(found, weights=weights))


def _with(material: EvaluationData, texts: np.ndarray) -> TrainingSet:
    return of_real(material.real).joined(material.synthetic.take(texts), material.parents[texts])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, metavar="RUN")
    parser.add_argument("--test", required=True, metavar="FILE")
    parser.add_argument("--output", required=True, metavar="DIR")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
