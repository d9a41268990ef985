"""A growing corpus: a first run, then an expansion for each delivery, as on a schedule.

    python examples/growing_corpus.py

What a cron job would do (jobs/schedule has one): `smotext expand` embeds rows that are new to the
run, tops each class up to its target and rewrites the result; a second time it does nothing.
Settings may follow, as in `decoder.num_candidates=8`. A few minutes on two cores.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd

from smotext_ray.cli.main import main as smotext
from smotext_ray.corpus.demo import load_dataset


def main(*settings: str) -> None:
    news = load_dataset("reuters-r8").to_pandas()
    with tempfile.TemporaryDirectory() as directory:
        table, run = Path(directory) / "news.csv", f"{directory}/run"
        deliver(news, {"grain": 8, "crude": 12}, table)
        smotext(["augment", "--input", str(table), "--output", run, *settings])
        print(tell("first", run))
        deliver(news, {"grain": 10, "crude": 16}, table)  # six rows more
        smotext(["expand", "--run", run])
        print(tell("expanded", run))
        smotext(["expand", "--run", run])  # prints that there is nothing to do
        smotext(["verify", run])


def deliver(news: pd.DataFrame, rows: dict[str, int], table: Path) -> None:
    """Write the table with the given number of rows per class."""
    pd.concat([news[news["label"] == label].head(n) for label, n in rows.items()]).to_csv(
        table, index=False
    )


def tell(what: str, run: str) -> str:
    """Rows per class, and how many of them are synthetic."""
    result = pd.read_parquet(f"{run}/augmented.parquet")
    counts = result.groupby("label")["synthetic"].agg(["size", "sum"])
    return f"{what}: " + ", ".join(
        f"{label} {row['size']} ({row['sum']} new)" for label, row in counts.iterrows()
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
