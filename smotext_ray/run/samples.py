"""Read a run's samples: which can be used, and how many were rejected for which reason."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from smotext_ray.gate.reasons import REPEATED
from smotext_ray.run.directory import Run
from smotext_ray.run.renamed import renamed_reason
from smotext_ray.utils.text import fingerprint


def usable_samples(run: Run, rounds: list[int]) -> Iterator[pa.Table]:
    """Accepted samples of a run, a table a round; see `usable`."""
    return usable(run.table("samples", f"round-{round_}") for round_ in rounds)


def usable(parts: Iterable[ds.Dataset]) -> Iterator[pa.Table]:
    """Accepted samples, a table a part, each by rising sample id.

    The gate sees one sample at a time; that two of a class hold the same text, but for case
    and white space, shows only here, and the later one is left out.
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


def tally(run: Run, rounds: list[int]) -> dict[str, Any]:
    """What became of the last of the rounds.

    Parameters
    ----------
    run : Run
    rounds : list of int
        All rounds so far, in order: a text that an earlier one has is no new text.

    Returns
    -------
    dict
        As `outcome` gives it.
    """
    (last,) = deque(usable_samples(run, rounds), maxlen=1)
    return outcome(last, run.table("samples", f"round-{rounds[-1]}"))


def outcome(kept: pa.Table, samples: ds.Dataset) -> dict[str, Any]:
    """What became of samples.

    Parameters
    ----------
    kept : pyarrow.Table
        Those of them that are `usable`.
    samples : pyarrow.dataset.Dataset

    Returns
    -------
    dict
        ``accepted``, pairs of label and usable samples; ``reasons``, rejected samples by
        reason; ``reasons_by_class``, triples of label, reason and number; ``mean_cosine``
        of the usable ones to their points.
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
    return {
        "accepted": [[label, number] for label, number in got.items()],
        "reasons": {reason: n for reason, n in reasons.most_common() if n},
        "reasons_by_class": [[label, reason, n] for (label, reason), n in by_class.items() if n],
        "mean_cosine": pc.mean(kept["cosine_to_point"]).as_py() if got else None,
    }


def _reason(row: dict[str, Any]) -> str:
    if row["status"] == "accepted":
        return REPEATED  # less the usable ones, in the end
    return str(renamed_reason(row["reason"])) if row["status"] == "rejected" else "error"
