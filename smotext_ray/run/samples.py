"""Read a run's samples: which are usable, and how many were rejected for which reason."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from smotext_ray.gate.reasons import ERROR, REPEATED
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import Outcome
from smotext_ray.run.renamed import renamed_reason
from smotext_ray.run.tables import samples_table
from smotext_ray.utils.text import fingerprint


def accepted_unique_samples(run: Run, rounds: list[int]) -> Iterator[pa.Table]:
    """Accepted samples of a run, a table a round; see `accepted_unique`."""
    return accepted_unique(samples_table(run, "samples", f"round-{n}") for n in rounds)


def accepted_unique(parts: Iterable[ds.Dataset]) -> Iterator[pa.Table]:
    """Accepted samples, one table per part, each sorted by sample id.

    The gate sees one sample at a time; duplicates within a class (ignoring case and white space)
    are found only here, and the later one is dropped.
    """
    seen: set[tuple[Any, int]] = set()
    for part in parts:
        accepted = part.to_table(filter=pc.field("status") == "accepted").sort_by("sample_id")
        keep = []
        for label, text in zip(
            accepted["label"].to_pylist(), accepted["text"].to_pylist(), strict=True
        ):
            mark = (label, fingerprint(text))
            keep.append(mark not in seen)
            seen.add(mark)
        yield accepted.filter(pa.array(keep, pa.bool_()))


def summarize_round(run: Run, rounds: list[int]) -> Outcome:
    """The outcome of the last round.

    Parameters
    ----------
    run : Run
    rounds : list of int
        All rounds so far, in order: texts of an earlier round do not count as new.

    Returns
    -------
    Outcome
    """
    (last,) = deque(accepted_unique_samples(run, rounds), maxlen=1)
    return summarize_samples(last, run.table("samples", f"round-{rounds[-1]}"))


def summarize_samples(kept: pa.Table, samples: ds.Dataset) -> Outcome:
    """Summarize samples.

    Parameters
    ----------
    kept : pyarrow.Table
        Those of them that are `accepted_unique`.
    samples : pyarrow.dataset.Dataset

    Returns
    -------
    Outcome
    """
    got = Counter(kept["label"].to_pylist())
    by_class: Counter[tuple[Any, str]] = Counter()
    columns = ["label", "status", "reason"]
    for batch in samples.to_batches(columns=columns):
        for row in batch.to_pylist():
            by_class[row["label"], _reason(row)] += 1
    for label, number in got.items():
        by_class[label, REPEATED] -= number
    reasons: Counter[str] = Counter()
    for (_, reason), number in by_class.items():
        reasons[reason] += number
    return Outcome(
        accepted=dict(got),
        reasons={reason: n for reason, n in reasons.most_common() if n},
        reasons_by_class=[(label, reason, n) for (label, reason), n in by_class.items() if n],
        mean_cosine=pc.mean(kept["cosine_to_point"]).as_py() if got else None,
    )


def _reason(row: dict[str, Any]) -> str:
    if row["status"] == "accepted":
        return REPEATED  # the usable ones are subtracted at the end
    return str(renamed_reason(row["reason"])) if row["status"] == "rejected" else ERROR
