"""SMOTExT in a Ray Data pipeline: read, add synthetic texts, continue.

    python examples/ray_data.py

Two classes of Reuters R8, one of them rare. The same code takes `ray.data.read_parquet("s3://...")`
on a cluster, with an `output` in the bucket. Settings may follow, as in `decoder.num_candidates=8`.
A minute or two on two cores.
"""

from __future__ import annotations

import sys
import tempfile

import pandas as pd
import ray
import yaml

import smotext_ray
from smotext_ray.cluster.session import connect
from smotext_ray.corpus.demo import load_dataset

ROWS = {"grain": 12, "crude": 16}


def main(*settings: str) -> None:
    connect()  # to RAY_ADDRESS, or to a Ray on this machine with capacity for the actors
    news = load_dataset("reuters-r8").to_pandas()
    rows = [row for label, n in ROWS.items() for row in records(news, label, n)]
    with tempfile.TemporaryDirectory() as directory:
        augmented = smotext_ray.augment(
            ray.data.from_items(rows),
            label_column="topic",
            sampling_strategy="auto",  # raise every class to the largest
            options=dict(map(option, settings)),
            output=f"{directory}/run",  # call again to resume
        )
        training = augmented.map(lambda row: {**row, "words": len(row["text"].split())})
        table = training.to_pandas()  # or .write_parquet(...), .iter_torch_batches(...)
    for topic, rows_of in table.groupby("topic"):
        new = int(rows_of["synthetic"].sum())
        words = rows_of["words"].mean()
        print(f"{topic}: {len(rows_of)} texts of {words:.0f} words, {new} of them new")


def records(news: pd.DataFrame, label: str, rows: int) -> list[dict]:
    """Rows of a class, with the columns ``text`` and ``topic``."""
    chosen = news[news["label"] == label].head(rows).rename(columns={"label": "topic"})
    return chosen[["text", "topic"]].to_dict("records")


def option(setting: str) -> tuple[str, object]:
    """``section.key=value`` as a pair."""
    name, _, value = setting.partition("=")
    return name, yaml.safe_load(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
