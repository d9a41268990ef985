"""What new texts are worth where texts have several labels: 20 Newsgroups, by parts of names.

    python benchmarks/multilabel.py --output runs/bench/multilabel

No package was found with a public dataset of texts with several labels, so this one is made: the
labels of a post are the parts of its group's name (rec.sport.hockey: rec, sport, hockey). A
training set with few posts of some groups is balanced with the packaged models in this process, and
evaluated on the whole test split. A run that is there is resumed or kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Literal

import pandas as pd

from smotext_ray.cli.main import main as smotext
from smotext_ray.config.load import load_config
from smotext_ray.corpus.demo import load_dataset
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.local import Local

ROWS = {
    "sci.space": 160,
    "rec.autos": 160,
    "comp.graphics": 160,
    "talk.politics.guns": 80,
    "rec.sport.hockey": 60,
    "rec.sport.baseball": 30,
    "talk.politics.mideast": 30,
    "soc.religion.christian": 24,
    "sci.med": 20,
    "comp.sys.mac.hardware": 16,
    "comp.sys.ibm.pc.hardware": 12,
    "alt.atheism": 12,
}
RAISED = 60  # rows that each rarer label is to have
WORDS = 60  # of a post that are kept


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    corpus, test = (write_posts(options.output, split) for split in ("train", "test"))
    counts = pd.read_parquet(corpus)["labels"].explode().value_counts()
    few = {str(label): RAISED for label, number in counts.items() if number < RAISED}
    given = {
        "input.path": str(corpus),
        "input.label_column": "labels",
        "plan.sampling_strategy": few,
    }
    config = load_config("offline", overrides=options.overrides, options=given)
    run = rounds.augment(config, str(options.output / "run"), Local())
    report, seeds = str(options.output / "report"), str(options.seeds)
    what = ["--run", run.uri, "--test", str(test), "--output", report, "--seeds", seeds]
    return smotext(["evaluate", *what])


def write_posts(directory: Path, split: Literal["train", "test"]) -> Path:
    """Posts of a split, and the parts of their group's name; all of the test split's."""
    posts = load_dataset("20newsgroups", split).to_pandas()
    most = {group: rows if split == "train" else len(posts) for group, rows in ROWS.items()}
    posts = pd.concat([posts[posts["label"] == group].head(rows) for group, rows in most.items()])
    words = posts["text"].str.split().str[:WORDS].str.join(" ")
    table = pd.DataFrame({"text": words, "labels": posts["label"].str.split(".")})
    file = directory / f"{split}.parquet"
    table.to_parquet(file, index=False)
    return file


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
