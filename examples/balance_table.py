"""Balance a table, train a classifier, and measure the gain on held-out texts.

    python examples/balance_table.py

Three classes of Reuters R8, one of them rare, as a CSV file such as you may have. Half of it is
held out first. The models come with the packages, so no hub is needed. Takes a minute or two on two
cores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from smotext_ray import SMOTExT
from smotext_ray.corpus.demo import load_dataset

ROWS = {"grain": 16, "crude": 60, "trade": 60}


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        table = pd.read_csv(write_table(Path(directory) / "news.csv"))
    train, test = train_test_split(table, test_size=0.5, stratify=table["topic"], random_state=0)
    sampler = SMOTExT(
        sampling_strategy={"grain": 20},
        random_state=0,
        decoder={"max_tokens": 64},  # the default is 96
    )
    texts, topics = sampler.fit_resample(train["body"], train["topic"])
    print(f"{len(train)} texts became {len(texts)}; the first new one, between its parents:")
    first = sampler.lineage_.iloc[0]
    for name in ("source_id", "row", "neighbor_id"):
        print(f"  {name}: {texts.iloc[int(first[name])][:100]}")
    for name, x, y in (
        ("real texts alone", train["body"], train["topic"]),
        ("with new texts", texts, topics),
    ):
        model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LinearSVC()).fit(x, y)
        score = f1_score(test["topic"], model.predict(test["body"]), average="macro")
        print(f"{name}: macro-F1 {score:.3f}")


def write_table(file: Path) -> Path:
    """A CSV file with the columns ``body`` and ``topic``."""
    news = load_dataset("reuters-r8").to_pandas()
    news = pd.concat([news[news["label"] == label].head(rows) for label, rows in ROWS.items()])
    news.rename(columns={"text": "body", "label": "topic"}).to_csv(file, index=False)
    return file


if __name__ == "__main__":
    main()
