"""Do synthetic texts teach an order or a threshold? Classifiers on embeddings, without their bias.

    python benchmarks/thresholds.py --dataset customer-reviews --data DIR --output runs/utility

Of the runs of `utility.py --protocol imbalanced`: logistic regression on embeddings and the nearest
class mean, trained on the real rows (each class weighs the same), with the synthetic ones, and at
lam 0 where that control was decoded. AUROC (one class against the rest, mean over classes) ranks
the test texts of the whole split, so no threshold and no class prior has a part in it; macro-F1 is
that of the classifier as it stands. Mean over seeds, and the gain of each seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from utility import protocol_options, read_split

from smotext_ray.errors import UserError
from smotext_ray.plan.vectors import unit

# Against the mean loss, as in `evaluation.utility.tuned`; from strong to weak.
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
Labels = list[str]
Model = Callable[[np.ndarray, Labels, np.ndarray], tuple[np.ndarray, np.ndarray]]


def main() -> int:
    options = protocol_options(__doc__).parse_args()
    try:
        show(options)
    except UserError as error:
        print(f"thresholds.py: error: {error}", file=sys.stderr)
        return 2
    return 0


def show(options: argparse.Namespace) -> None:
    """Print the table of a dataset."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    test = read_split(options, "test")
    for seed in range(options.seeds):
        home = options.output / f"{options.dataset}-{options.protocol}" / f"seed-{seed}" / "run"
        arms, unseen, truth = read(home, test)
        for name, model in models().items():
            for arm, (x, labels) in arms.items():
                classes, scores = model(x, labels, unseen)
                both = auroc(truth, classes, scores), macro_f1(truth, classes, scores)
                found.setdefault((name, arm), []).append(both)
    print("| classifier | trained on | AUROC | macro-F1 | AUROC gained, by seed |")
    print("|---|---|---|---|---|")
    for (name, arm), figures in found.items():
        real = np.array(found[name, "real"])
        means = " | ".join(f"{mean:.3f}" for mean in np.mean(figures, axis=0))
        gained = np.array(figures)[:, 0] - real[:, 0]
        words = "" if arm == "real" else " ".join(f"{gain:+.3f}" for gain in gained)
        print(f"| {name} | {arm} | {means} | {words} |")


def read(home: Path, test: Any) -> tuple[dict[str, tuple[np.ndarray, Labels]], np.ndarray, Labels]:
    """What each arm is trained on, the test texts' embeddings and their labels."""
    from smotext_ray.evaluation.controls.decode import decode_controls
    from smotext_ray.evaluation.inputs import read_evaluation_data
    from smotext_ray.evaluation.rows import LabeledTexts
    from smotext_ray.models.load import load_encoder
    from smotext_ray.run.directory import Run
    from smotext_ray.run.manifest import Manifest

    run = Run(str(home))
    manifest = Manifest.read(run)
    encoder = load_encoder(manifest.config)
    held_out = LabeledTexts(test["text"].to_pylist(), test["label"].to_pylist())
    material = read_evaluation_data(run, held_out, encoder.encode)
    real, new = material.real, material.synthetic
    arms = {
        "real": (unit(real.embeddings), list(real.labels)),
        "real + synthetic": (
            unit(np.concatenate([real.embeddings, new.embeddings])),
            [*real.labels, *new.labels],
        ),
    }
    if "lam_0" in (manifest.controls or {}):
        decoded = decode_controls(run, manifest.config, encoder.encode, ["lam_0"])["lam_0"].rows
        both = np.concatenate([real.embeddings, decoded.embeddings])
        arms["real + lam 0"] = unit(both), [*real.labels, *decoded.labels]
    return arms, unit(material.test.embeddings), list(material.test.labels)


def models() -> dict[str, Model]:
    """Each fits training rows and scores test rows: classes, and an array of (rows, classes)."""
    found: dict[str, Model] = {"nearest class mean": nearest_mean}
    for strength in STRENGTHS:
        found[f"logistic regression, C {strength:g}"] = logistic(strength)
    return found


def logistic(strength: float) -> Model:
    """Logistic regression with equal weights of the classes."""
    from sklearn.linear_model import LogisticRegression

    def fit(x: np.ndarray, labels: Labels, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        c = strength * 1000 / len(x)
        model = LogisticRegression(C=c, max_iter=2000, class_weight="balanced").fit(x, labels)
        return model.classes_, model.predict_proba(unseen)

    return fit


def nearest_mean(
    x: np.ndarray, labels: Labels, unseen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine to the mean of each class."""
    classes, codes = np.unique(labels, return_inverse=True)
    means = np.stack([x[codes == k].mean(axis=0) for k in range(len(classes))])
    return classes, unseen @ unit(means).T


def auroc(truth: Labels, classes: np.ndarray, scores: np.ndarray) -> float:
    """One class against the rest, averaged over the classes."""
    from sklearn.metrics import roc_auc_score

    # What separates two classes is the difference of their scores.
    rest = [np.delete(scores, k, axis=1).max(axis=1) for k in range(len(classes))]
    of = [
        roc_auc_score(np.asarray(truth) == name, scores[:, k] - rest[k])
        for k, name in enumerate(classes)
    ]
    return float(np.mean(of))


def macro_f1(truth: Labels, classes: np.ndarray, scores: np.ndarray) -> float:
    """Of the class with the highest score."""
    from sklearn.metrics import f1_score

    return float(f1_score(truth, classes[scores.argmax(axis=1)], average="macro"))


if __name__ == "__main__":
    sys.exit(main())
