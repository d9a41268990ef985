"""Which rows of the corpus are embedded: those that a later stage reads.

The plan reads the classes that get points, the gate some rows of each class. All rows are needed
if points or verdicts depend on every class: a SMOTE variant, cleaning, epsilon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from smotext_ray.config.schema import RunConfig
from smotext_ray.corpus.staging import regrouped
from smotext_ray.gate.reference_rows import EVERY, last_hashes
from smotext_ray.run.directory import TO_EMBED, Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.written import written_rows
from smotext_ray.tables import count_labels, label_value_type
from smotext_ray.utils.hashes import id_hashes

SORTED_BYTES = 1 << 26  # size of the rows sorted at a time


@dataclass
class ChosenRows:
    """The rows that ``embeddings/`` should have, and the files of those that are missing.

    Attributes
    ----------
    counts : Counter
        Rows per class that have or will get an embedding.
    missing : int
        Number of rows without an embedding so far.
    files : list of str
        Files of the missing rows, in ``to_embed/``.
    """

    counts: Counter[Any] = field(default_factory=Counter)
    missing: int = 0
    files: list[str] = field(default_factory=list)


def whole_classes(config: RunConfig, labels: Collection[Any], points: Collection[Any]) -> set[Any]:
    """The classes of which every row is embedded, in a corpus with one class per row.

    Parameters
    ----------
    config : RunConfig
    labels : collection
        All classes.
    points : collection
        Classes that get points or already have some.
    """
    sees_others = config.plan.variant != "smote" or config.gate.cleaning != "none"
    return set(labels if sees_others or config.privacy.epsilon is not None else points)


def rows_to_embed(
    config: RunConfig, class_counts: Mapping[Any, int], points: Collection[Any]
) -> dict[Any, int]:
    """Rows per class that a new run embeds."""
    whole, most = whole_classes(config, class_counts, points), config.gate.reference_rows
    return {
        label: rows if label in whole else min(rows, most) for label, rows in class_counts.items()
    }


def choose_rows(
    run: Run,
    manifest: Manifest,
    files: Sequence[str],
    whole: Collection[Any],
    rows_per_file: int,
) -> ChosenRows:
    """Write the rows that are needed and have no embedding to ``to_embed/``.

    Reads the ids and labels of the corpus, then its texts. Takes 24 bytes of memory per embedded
    row; nothing else grows with the corpus.

    Parameters
    ----------
    run : Run
    manifest : Manifest
    files : sequence of str
        The files of ``corpus/``.
    whole : collection
        Classes of which every row is needed.
    rows_per_file : int

    Returns
    -------
    ChosenRows

    Notes
    -----
    Equal texts are placed next to each other as far as memory allows, so that an encoder that gets
    the file embeds them once.
    """
    embedded = _embedded(run)
    kind = label_value_type(run.table("corpus").schema.field("label").type)
    labels = pa.array(manifest.labels, kind)
    last = _last_hashes(run, manifest, files, labels, whole)
    run.clear(TO_EMBED)
    directory, chosen = run.make(TO_EMBED), ChosenRows()
    missing = _missing(run, files, labels, last, embedded, chosen)
    for table in regrouped(_sorted(missing), rows_per_file):
        name = f"part-{len(chosen.files):05d}.parquet"
        pq.write_table(table, f"{directory}/{name}", filesystem=run.fs)
        chosen.missing += len(table)
        chosen.files.append(name)
    return chosen


def _embedded(run: Run) -> NDArray[np.uint64]:
    """Sorted hashes of the ids that have an embedding in a file that counts."""
    ids = [
        run.read_table(run.at("embeddings", name), ["id"])["id"]
        for name in written_rows(run, "embeddings", "id").files
    ]
    return np.sort(np.concatenate([np.empty(0, np.uint64), *map(id_hashes, ids)]))


def _last_hashes(
    run: Run, manifest: Manifest, files: Sequence[str], labels: pa.Array, whole: Collection[Any]
) -> NDArray[np.uint64]:
    most = manifest.config.gate.reference_rows
    counts = manifest.class_counts
    # A row with several labels also says something about the labels that it lacks.
    is_whole = np.array(
        [manifest.is_multilabel or label in whole or counts[label] <= most for label in counts],
        bool,
    )
    if is_whole.all():
        return np.full(len(is_whole), EVERY, np.uint64)
    parts = (run.read_table(file, ["id", "label"]) for file in files)
    return last_hashes(
        ((_codes(part, labels), id_hashes(part["id"])) for part in parts), is_whole, most
    )


def _missing(
    run: Run,
    files: Sequence[str],
    labels: pa.Array,
    last: NDArray[np.uint64],
    embedded: NDArray[np.uint64],
    chosen: ChosenRows,
) -> Iterator[pa.Table]:
    """Yield the rows to embed, and count all rows of ``embeddings/``."""
    for file in files:
        table = run.read_table(file, ["id", "text", "label"])
        hashes = id_hashes(table["id"])
        is_there = _among(hashes, embedded)
        is_needed = np.ones(len(table), bool)
        if (last < EVERY).any():
            is_needed = hashes <= last[_codes(table, labels)]
        chosen.counts.update(count_labels(table["label"].filter(pa.array(is_there | is_needed))))
        yield table.filter(pa.array(is_needed & ~is_there))


def _among(hashes: NDArray[np.uint64], sorted_: NDArray[np.uint64]) -> NDArray[np.bool_]:
    if not len(sorted_):
        return np.zeros(len(hashes), bool)
    place = np.minimum(np.searchsorted(sorted_, hashes), len(sorted_) - 1)
    found: NDArray[np.bool_] = sorted_[place] == hashes
    return found


def _codes(table: pa.Table, labels: pa.Array) -> NDArray[np.int64]:
    return np.asarray(pc.index_in(table["label"], value_set=labels).to_numpy(), np.int64)


def _sorted(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        held.append(table)
        size += table.nbytes
        if size > SORTED_BYTES:
            yield _by_text(held)
            held, size = [], 0
    if held:
        yield _by_text(held)


def _by_text(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).sort_by([("text", "ascending"), ("id", "ascending")])
