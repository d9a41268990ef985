"""Inputs of an evaluation over rows with several labels: texts, embeddings and a label matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.label_sets import has_label_sets
from smotext_ray.corpus.sources import read_blocks
from smotext_ray.corpus.validation import validate_rows
from smotext_ray.errors import UserError
from smotext_ray.evaluation.inputs import new_samples, parent_rows, row_numbers
from smotext_ray.run.corpus_files import corpus_table
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.tables import embeddings_table, samples_table
from smotext_ray.tables import label_pairs, matrix

Encode = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True, eq=False)
class LabeledRows:
    """Texts with their embeddings and labels.

    Attributes
    ----------
    texts : list of str, length n
    embeddings : ndarray of float32, shape (n, d)
    labels : ndarray of bool, shape (n, labels)
        Which labels each text has, in the order of the run's labels.
    """

    texts: list[str]
    embeddings: np.ndarray
    labels: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: NDArray[np.int64]) -> LabeledRows:
        """Some of the rows; repeats are allowed."""
        texts = [self.texts[row] for row in rows]
        return LabeledRows(texts, self.embeddings[rows], self.labels[rows])

    def joined(self, other: LabeledRows) -> LabeledRows:
        """These rows followed by the others."""
        return LabeledRows(
            self.texts + other.texts,
            np.concatenate([self.embeddings, other.embeddings]),
            np.concatenate([self.labels, other.labels]),
        )


@dataclass(frozen=True, eq=False)
class LabeledRun:
    """A run and its test texts, in memory.

    Attributes
    ----------
    labels : list
        The run's labels.
    real, synthetic, test : LabeledRows
    parents : ndarray of int64, shape (synthetic, p)
        Rows of ``real``: source and neighbors of each synthetic text.
    samples : list of dict
        All samples with the labels that they have kept, including rejected ones.
    """

    labels: list[Any]
    real: LabeledRows
    synthetic: LabeledRows
    test: LabeledRows
    parents: NDArray[np.int64]
    samples: list[dict[str, Any]]


def read_test(
    run: Run, test: str, text_column: str | None = None, label_column: str | None = None
) -> tuple[list[str], list[list[Any]]]:
    """The test texts and their labels, in the form of the run's input.

    Raises
    ------
    UserError
        If the table cannot be read, has one label per row, or has a label that the corpus lacks.
    """
    manifest = Manifest.read(run)
    own = manifest.config.input
    names = {"text_column": text_column, "label_column": label_column}
    told = {key: name for key, name in names.items() if name is not None}
    # Rows without a text are left out.
    told |= {"path": test, "on_bad_row": "skip"}
    config = InputConfig.model_validate(own.model_dump() | told | {"id_column": None})
    texts: list[str] = []
    sets: list[list[Any]] = []
    for block in read_blocks(config):
        if not has_label_sets(config, block.table.schema):
            raise UserError(
                f"{test} has no lists of labels, as the run's corpus has; write its labels alike."
            )
        text, labels, verdict = validate_rows(block, config)
        good = pa.array(verdict == 0)
        texts += text.filter(good).to_pylist()
        sets += labels.filter(good).to_pylist()
    strange = sorted({str(k) for each in sets for k in each} - set(map(str, manifest.labels)))
    if strange:
        raise UserError(
            f"{test} has labels that the run's corpus lacks ({', '.join(strange[:5])}); test on "
            "the corpus's labels only."
        )
    own_of = {str(label): label for label in manifest.labels}  # integers may be strings there
    sets = [[own_of[str(label)] for label in each] for each in sets]
    if not any(sets):
        raise UserError(f"{test} has no row with a label; test on texts that have some.")
    return texts, sets


def read_run(run: Run, held_out: tuple[list[str], list[list[Any]]], encode: Encode) -> LabeledRun:
    """Read a finished run, and encode its synthetic texts and the test texts."""
    manifest = Manifest.read(run)
    labels, row_of = manifest.labels, row_numbers(run)
    corpus = corpus_table(run, manifest).to_table(columns=["id", "text", "label"]).sort_by("id")
    embedded = embeddings_table(run).to_table(["id", "embedding"]).sort_by("id")
    new = new_samples(run)
    texts, sets = held_out
    return LabeledRun(
        labels=labels,
        real=LabeledRows(
            corpus["text"].to_pylist(),
            matrix(embedded["embedding"]),
            indicator(corpus["label"], labels),
        ),
        synthetic=of_samples(new, labels, encode),
        test=LabeledRows(texts, encode(texts), indicator(pa.array(sets), labels)),
        parents=parent_rows(new, row_of),
        samples=_samples(run, manifest, set(new["sample_id"].to_pylist())),
    )


def of_samples(samples: pa.Table, labels: Sequence[Any], encode: Encode) -> LabeledRows:
    """Accepted samples with the labels that they have kept."""
    texts = samples["text"].to_pylist()
    return LabeledRows(texts, encode(texts), indicator(samples["labels"], labels))


def indicator(sets: pa.Array | pa.ChunkedArray, labels: Sequence[Any]) -> NDArray[np.bool_]:
    """Lists of labels as a matrix with a column per label."""
    place = {label: column for column, label in enumerate(labels)}
    rows, each = label_pairs(sets)
    found = np.zeros((len(sets), len(labels)), bool)
    found[rows, [place[label] for label in each.to_pylist()]] = True
    return found


def drawn(run: LabeledRun, seed: int, left_out: float) -> tuple[LabeledRows, NDArray[np.int64]]:
    """The real texts without a random share, and the synthetic texts whose parents are kept.

    A label keeps at least two of its texts, if it has them.

    Returns
    -------
    real : LabeledRows
    synthetic : ndarray of int64
        Row numbers.
    """
    rng = np.random.default_rng([seed, 5])
    kept, counts = np.ones(len(run.real), bool), run.real.labels.sum(axis=0)
    goal = int(left_out * len(kept))
    for row in rng.permutation(len(kept)):
        has = run.real.labels[row]
        if goal and (counts[has] > 2).all():
            kept[row], counts, goal = False, counts - has, goal - 1
    real = run.real.take(np.flatnonzero(kept))
    return real, np.flatnonzero(kept[run.parents].all(axis=1))


def _samples(run: Run, manifest: Manifest, delivered: set[int]) -> list[dict[str, Any]]:
    rows = []
    for entry in manifest.rounds:
        if entry.decode is None:
            continue
        for row in samples_table(run, "samples", entry.name).to_table().to_pylist():
            names = [str(manifest.called(label)) for label in row["labels"] or ()]
            rows.append(
                {
                    "sample_id": row["sample_id"],
                    "made_for": str(manifest.called(row["label"])),
                    "labels": names,
                    "status": row["status"],
                    "reason": row["reason"],
                    "delivered": row["sample_id"] in delivered,
                    "cosine": row["cosine_to_point"],
                    "text": row["text"],
                }
            )
    return sorted(rows, key=lambda row: row["sample_id"])
