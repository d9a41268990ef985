"""How much texts look like those of their corpus, decoded by several bridges.

    python benchmarks/styles.py default bridges/mine --rows 100 \\
        --labeled demo:reuters-r8 trec6-train.parquet clinc150-imbalanced-train.parquet

Points half way between random texts and neighbors of their class are decoded as in a run, four
texts for each. Printed are the mean cosine of the texts to their point, the shares with the case
and with the punctuation (or none) of their main parent, their words relative to the length between
the parents' (median), and the area under the ROC curve of a logistic regression on character
n-grams, with case, that tells them from as many texts of the corpus (0.5: it cannot).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from compare_bridges import LAM, Drawn, add_options, alone, draw, loaded
from figures import save, show

from smotext_ray.errors import UserError
from smotext_ray.models.style import form_of
from smotext_ray.plan.interpolation import interpolate
from smotext_ray.plan.vectors import unit
from smotext_ray.training.points import looks_between, neighbor_pairs

HEAD = ["texts", "bridge", "cosine", "same case", "same punctuation", "words", "told from real"]
CANDIDATES = 4
FOLDS = 10


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    options = parser.parse_args()
    if options.rows < FOLDS:
        parser.error(f"--rows is {options.rows}; give at least {FOLDS}")
    try:
        drawn = [draw(options, file, "label") for file in options.labeled]
        found = {bridge: alone(decoded, bridge, drawn) for bridge in options.bridges}
    except UserError as error:
        print(f"styles.py: error: {error}", file=sys.stderr)
        return 2
    rows = [
        [each.name, Path(bridge).name, *figures(each, made[each.name])]
        for each in drawn
        for bridge, made in found.items()
    ]
    show(HEAD, rows)
    if options.output:
        save(options.output, decoded=found)
    return 0


def decoded(bridge: str, drawn: list[Drawn]) -> dict[str, dict[str, Any]]:
    """By set of texts: ``parents``, row numbers; ``texts`` and ``cosines``, four for each point."""
    encoder, decoder = loaded(bridge, num_candidates=CANDIDATES)
    found = {}
    for name, texts, labels in drawn:
        x = unit(encoder.encode(texts))
        pairs = neighbor_pairs(texts, labels, x, np.random.default_rng(0))
        first, second = pairs.T
        lams = np.full(len(pairs), LAM)
        points = interpolate(x[first], x[second], lams, True)
        looks = looks_between(texts, decoder.count_tokens(texts), pairs, lams)
        made = decoder.decode(points, range(len(points)), *looks)
        of_points = [
            (unit(encoder.encode(each.texts)) @ point).tolist()
            for each, point in zip(made, points, strict=True)
        ]
        found[name] = {
            "parents": pairs.tolist(),
            "texts": [each.texts for each in made],
            "cosines": of_points,
        }
    return found


def figures(drawn: Drawn, made: dict[str, Any]) -> list[str]:
    """A row of the table after its names."""
    texts = [text for each in made["texts"] for text in each]
    pairs = np.repeat(np.array(made["parents"]), CANDIDATES, axis=0)
    same = form_of(texts) == form_of([drawn.texts[first] for first, _ in pairs])
    words = np.array([len(text.split()) for text in drawn.texts])[pairs].mean(axis=1)
    shares = [len(text.split()) / of_parents for text, of_parents in zip(texts, words, strict=True)]
    return [
        f"{np.mean(made['cosines']):.3f}",
        f"{same[:, :3].all(axis=1).mean():.0%}",
        f"{same[:, 3:].all(axis=1).mean():.0%}",
        f"{np.median(shares):.2f}",
        f"{told_apart([each[0] for each in made['texts']], drawn.texts):.2f}",
    ]


def told_apart(new: list[str], real: list[str]) -> float:
    """Area under the ROC curve of a classifier of new and real texts, in ten folds."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline

    features = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False)
    classifier = make_pipeline(features, LogisticRegression(C=10.0))
    is_new = np.repeat([1, 0], [len(new), len(real)])
    scores = cross_val_predict(
        classifier, [*new, *real], is_new, cv=FOLDS, method="decision_function"
    )
    return float(roc_auc_score(is_new, scores))


if __name__ == "__main__":
    sys.exit(main())
