"""Cross-validate a classifier with SMOTExT in its pipeline: synthetic texts in training folds only.

    python examples/cross_validate.py

Reuters R8, three classes, one of them rare. The pipeline makes new texts from each training fold,
so no text that it is tested on has been a parent. The models come with the packages; nothing is
asked of a hub. A minute or two on two cores.
"""

from __future__ import annotations

import pandas as pd
from imblearn.pipeline import make_pipeline
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import LinearSVC

from smotext_ray import SMOTExT
from smotext_ray.corpus.demo import load_dataset

ROWS = {"grain": 12, "crude": 60, "trade": 60}


def main() -> None:
    news = load_dataset("reuters-r8").to_pandas()
    news = pd.concat([news[news["label"] == label].head(rows) for label, rows in ROWS.items()])
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    classifier = [TfidfVectorizer(sublinear_tf=True), LinearSVC()]
    sampler = SMOTExT(
        sampling_strategy={"grain": 20},
        k_neighbors=3,
        random_state=0,
        decoder={"max_tokens": 64},  # the default is 96
    )
    models = {
        "real texts alone": make_pipeline(*classifier),
        "with SMOTExT": make_pipeline(sampler, *classifier),
    }
    for name, model in models.items():
        scores = cross_val_score(model, news["text"], news["label"], cv=folds, scoring="f1_macro")
        print(f"{name}: macro-F1 {scores.mean():.3f}, by fold {scores.round(3).tolist()}")


if __name__ == "__main__":
    main()
