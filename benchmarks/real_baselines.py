"""What real rows alone reach, with settings chosen on the training rows: the bar for `utility.py`.

    python benchmarks/real_baselines.py --dataset r8 --protocol imbalanced --output runs/baselines

Splits, draws and test rows are those of `utility.py`; no synthetic text is made. `untuned` has C=10
on embeddings and C=1 on TF-IDF of words and word pairs. The others choose C, class weights and, for
TF-IDF, the words by four-fold cross-validation on the training rows of each seed, and never see a
test row: `tuned`, `class weights` (always balanced), `prior corrected` (logit adjustment) and
`centroid` (the nearest class mean, which has no C). Where a class has fewer than 20 rows they take
the strongest regularization within one standard error of the best score; `class weights, best
score` takes the best. With `--rest`, the test rows are those of the training split that a seed
leaves out, at most 2,000.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from figures import save, show
from utility import cut, protocol_options, read_split

from smotext_ray.config.load import load_config
from smotext_ray.errors import UserError
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility import tuned
from smotext_ray.evaluation.utility.features import tf_idf, unit_rows
from smotext_ray.evaluation.utility.scores import Scores, measure
from smotext_ray.evaluation.utility.training_sets import of_real

MOST = 2000
BASELINES = {
    "tuned": tuned.TUNED,
    "class weights": tuned.CLASS_WEIGHTED,
    "class weights, best score": {
        name: replace(found, within=0.0) for name, found in tuned.CLASS_WEIGHTED.items()
    },
    "prior corrected": tuned.PRIOR_CORRECTED,
    "centroid": tuned.CENTROIDS,
}


def untuned_embedding(real: Rows, test: Rows) -> list[str]:
    """Logistic regression, C=10."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10, max_iter=2000).fit(unit_rows(real), real.labels)
    return [str(label) for label in model.predict(unit_rows(test))]


def untuned_tfidf(real: Rows, test: Rows) -> list[str]:
    """A linear SVM, C=1, on words and word pairs."""
    from sklearn.svm import LinearSVC

    x, unseen = tf_idf(real, test)
    return [str(label) for label in LinearSVC(random_state=0).fit(x, real.labels).predict(unseen)]


UNTUNED = {"embedding": untuned_embedding, "tfidf": untuned_tfidf}


def main() -> int:
    parser = protocol_options(__doc__)
    parser.add_argument(
        "--rest", action="store_true", help="test on the rest of the training split"
    )
    options = parser.parse_args()
    try:
        scores = measure_all(options)
    except UserError as error:
        print(f"real_baselines.py: error: {error}", file=sys.stderr)
        return 2
    rows = [
        [classifier, name, *_mean_and_sd([score.macro_f1 for score in found])]
        for (classifier, name), found in scores.items()
    ]
    show(["classifier", "real rows alone", "macro-F1", "sd over seeds"], rows)
    name = f"baselines-{options.dataset}-{options.protocol}.json"
    figures = {f"{c}, {n}": [s.macro_f1 for s in found] for (c, n), found in scores.items()}
    save(options.output / name, dataset=options.dataset, protocol=options.protocol, **figures)
    return 0


def measure_all(options: argparse.Namespace) -> dict[tuple[str, str], list[Scores]]:
    """The scores of all seeds, by classifier and baseline."""
    from smotext_ray.models.load import load_encoder

    train, test_split = (read_split(options, split) for split in ("train", "test"))
    encoder = load_encoder(load_config("offline"))
    whole = None if options.rest else _rows(test_split, encoder)
    scores: dict[tuple[str, str], list[Scores]] = {}
    for seed in range(options.seeds):
        kept = cut(train, options.protocol, seed, options.large)
        real = _rows(kept, encoder)
        test = _rows(rest(train, kept, seed), encoder) if whole is None else whole
        for classifier, untuned in UNTUNED.items():
            labels = {"untuned": untuned(real, test)}
            for name, group in BASELINES.items():
                if classifier in group:
                    labels[name] = group[classifier](of_real(real), test, seed)
            for name, predicted in labels.items():
                found = measure(test.labels, predicted, seed)
                scores.setdefault((classifier, name), []).append(found)
        print(f"seed {seed} done", file=sys.stderr)
    return scores


def rest(train: pa.Table, kept: pa.Table, seed: int) -> pa.Table:
    """Rows of the training split without those texts, ``MOST`` at random if there are more."""
    left = train.filter(pc.invert(pc.is_in(train["text"], kept["text"].combine_chunks())))
    return left.take(np.random.default_rng(seed).permutation(len(left))[:MOST])


def _rows(table: pa.Table, encoder: Any) -> Rows:
    texts = table["text"].to_pylist()
    labels = [str(label) for label in table["label"].to_pylist()]
    return Rows(texts, np.asarray(encoder.encode(texts)), labels)


def _mean_and_sd(values: list[float]) -> tuple[str, str]:
    return f"{np.mean(values):.3f}", f"{np.std(values, ddof=1):.3f}" if len(values) > 1 else ""


if __name__ == "__main__":
    sys.exit(main())
