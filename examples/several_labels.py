"""Texts with several labels each: raise the rare ones, and measure recall on held-out texts.

    python examples/several_labels.py

Posts of 20 Newsgroups, whose labels are the parts of their group's name: one of rec.sport.hockey
has ``rec``, ``sport`` and ``hockey``. Few posts are about hockey. The models come with the
packages, so no hub is needed. Takes a minute or two on two cores.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC

from smotext_ray import SMOTExT
from smotext_ray.corpus.demo import load_dataset

ROWS = {"rec.sport.hockey": 8, "rec.sport.baseball": 24, "rec.autos": 24, "sci.space": 24}


def main() -> None:
    train, test = posts("train"), posts("test")
    sampler = SMOTExT(
        sampling_strategy={"hockey": 14},  # or "auto", or several labels
        random_state=0,
        decoder={"max_tokens": 64},  # the default is 96
    )
    texts, labels = sampler.fit_resample(train["text"], train["labels"])
    for when, sets in (("before", train["labels"]), ("after", labels)):
        print(f"{when}: {dict(Counter(label for each in sets for label in each).most_common())}")
    print(f"a new text has {labels.iloc[-1]}: {texts.iloc[-1][:100]}")
    binarizer = MultiLabelBinarizer().fit(train["labels"])
    truth = binarizer.transform(test["labels"])
    for name, x, y in (
        ("real texts alone", train["text"], train["labels"]),
        ("with new texts", texts, labels),
    ):
        one_each = OneVsRestClassifier(LinearSVC(class_weight="balanced"))
        model = make_pipeline(TfidfVectorizer(sublinear_tf=True), one_each)
        guess = model.fit(x, binarizer.transform(y)).predict(test["text"])
        print(f"{name}: macro-F1 {f1_score(truth, guess, average='macro', zero_division=0):.3f}")


def posts(split: Literal["train", "test"]) -> pd.DataFrame:
    """The first 60 words of some posts, and the parts of their group's name."""
    news = load_dataset("20newsgroups", split).to_pandas()
    news = pd.concat([news[news["label"] == group].head(rows) for group, rows in ROWS.items()])
    words = news["text"].str.split().str[:60].str.join(" ")
    return pd.DataFrame({"text": words, "labels": news["label"].str.split(".")})


if __name__ == "__main__":
    main()
