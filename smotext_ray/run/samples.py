"""Read a run's samples: which are usable, and how many were rejected for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from smotext_ray.gate.reasons import ERROR, REPEATED
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import Outcome
from smotext_ray.run.renamed import renamed_reason
from smotext_ray.run.tables import samples_table
from smotext_ray.tables import count_labels
from smotext_ray.utils.text import fingerprint

ACCEPTED = pc.field("status") == "accepted"
MARKED = ("sample_id", "label", "cosine_to_point")
LOOKED_AT = 4  # files
BATCH = 65_536  # texts converted to Python strings at a time


def accepted_unique_samples(run: Run, rounds: list[int]) -> Iterator[pa.Table]:
    """Accepted samples of a run, one table per round; see `accepted_unique`."""
    return accepted_unique(samples_table(run, "samples", f"round-{n}") for n in rounds)


def accepted_unique(parts: Iterable[ds.Dataset]) -> Iterator[pa.Table]:
    """Accepted samples, one table per part, each sorted by sample id.

    The gate sees one sample at a time; duplicates within a class (ignoring case and white space)
    are found only here, and the later one is dropped. If rows have several labels, all of them
    count as one class here.
    """
    seen = _Seen()
    for part in parts:
        accepted = part.to_table(filter=ACCEPTED).sort_by("sample_id")
        yield accepted.filter(pa.array(seen.add(accepted)))


def usable_samples(parts: Iterable[ds.Dataset]) -> pa.Table:
    """The columns `MARKED` of the last part's samples that `accepted_unique` yields.

    If rows have several labels, also all ``labels`` of a sample.

    Takes about 50 bytes of memory per sample, whatever the length of the texts.
    """
    seen, kept = _Seen(), pa.table({})
    for part in parts:
        batches = part.to_batches(columns=[*_kept(part.schema), "text"], filter=ACCEPTED)
        tables = [_marked(pa.Table.from_batches([batch])) for batch in batches]
        none = _marked(part.schema.empty_table())
        marked = pa.concat_tables([none, *tables]).sort_by("sample_id")
        kept = marked.filter(pa.array(seen.add(marked))).drop_columns(["mark"])
    return kept


def first_accepted(run: Run, entry: str, number: int) -> list[dict[str, Any]]:
    """Accepted samples of a round in progress, from the files that were written first.

    Files that a process is writing, or has left incomplete, are skipped.
    """
    found: list[dict[str, Any]] = []
    files = [info for info in run.files("samples", entry) if info.base_name.endswith(".parquet")]
    for info in sorted(files, key=lambda info: info.mtime_ns or 0)[:LOOKED_AT]:
        try:
            samples = run.read_table(run.at("samples", entry, info.base_name))
        except (pa.ArrowInvalid, FileNotFoundError):
            continue
        found += samples.filter(ACCEPTED).slice(0, number - len(found)).to_pylist()
        if len(found) == number:
            break
    return found


class _Seen:
    """The texts of each class so far."""

    def __init__(self) -> None:
        self._marks: dict[Any, np.ndarray] = {}

    def add(self, samples: pa.Table) -> np.ndarray:
        """Add samples in order; returns a boolean mask of the new ones."""
        samples = samples if "mark" in samples.column_names else _marked(samples)
        marks = samples["mark"].to_numpy()
        keep = np.zeros(len(marks), bool)
        owners = samples["label"]
        if "labels" in samples.column_names:
            owners = pa.nulls(len(samples), pa.bool_()).fill_null(True)
        for label in owners.unique().to_pylist():
            value = pa.scalar(label, owners.type)  # pyarrow infers too small a type
            rows = np.flatnonzero(pc.equal(owners, value).to_numpy(zero_copy_only=False))
            _, first = np.unique(marks[rows], return_index=True)
            rows = rows[np.sort(first)]
            before = self._marks.get(label, np.empty(0, np.int64))
            rows = rows[~np.isin(marks[rows], before)]
            keep[rows] = True
            self._marks[label] = np.concatenate([before, marks[rows]])
        return keep


def _marked(samples: pa.Table) -> pa.Table:
    """The columns that are kept, and ``mark``, the fingerprint of the text."""
    marks = np.empty(len(samples), np.int64)
    start = 0
    for batch in samples.select(["text"]).to_batches(max_chunksize=BATCH):
        for row, text in enumerate(batch["text"].to_pylist(), start):
            marks[row] = fingerprint(text)
        start += len(batch)
    return samples.select(_kept(samples.schema)).append_column("mark", pa.array(marks))


def _kept(schema: pa.Schema) -> list[str]:
    return [*MARKED, *(["labels"] if "labels" in schema.names else [])]


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
    parts = [samples_table(run, "samples", f"round-{n}") for n in rounds]
    return summarize_samples(usable_samples(parts), parts[-1])


def summarize_samples(kept: pa.Table, samples: ds.Dataset) -> Outcome:
    """Summarize samples.

    Parameters
    ----------
    kept : pyarrow.Table
        The `usable_samples` among them.
    samples : pyarrow.dataset.Dataset

    Returns
    -------
    Outcome
    """
    made = count_labels(kept["label"])
    by_class: Counter[tuple[Any, str]] = Counter()
    columns = ["label", "status", "reason"]
    for batch in samples.to_batches(columns=columns):
        for row in batch.to_pylist():
            by_class[row["label"], _reason(row)] += 1
    for label, number in made.items():
        by_class[label, REPEATED] -= number
    reasons: Counter[str] = Counter()
    for (_, reason), number in by_class.items():
        reasons[reason] += number
    return Outcome(
        accepted=dict(label_counts(kept)),
        reasons={reason: n for reason, n in reasons.most_common() if n},
        reasons_by_class=[(label, reason, n) for (label, reason), n in by_class.items() if n],
        mean_cosine=pc.mean(kept["cosine_to_point"]).as_py() if made else None,
    )


def label_counts(samples: pa.Table) -> Counter[Any]:
    """Number of samples of each class, or with each label."""
    name = "labels" if "labels" in samples.column_names else "label"
    return count_labels(samples[name])


def labels_of(samples: pa.Table) -> list[list[Any]]:
    """The labels of each sample; only its class if it has no others."""
    if "labels" in samples.column_names:
        return list(samples["labels"].to_pylist())
    return [[label] for label in samples["label"].to_pylist()]


def _reason(row: dict[str, Any]) -> str:
    if row["status"] == "accepted":
        return REPEATED  # the usable ones are subtracted at the end
    return str(renamed_reason(row["reason"])) if row["status"] == "rejected" else ERROR
