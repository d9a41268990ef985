"""Inputs of an evaluation: a run's real and synthetic texts, and held-out real texts.

All user errors are found before the first text is encoded.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.sources import DEMO
from smotext_ray.corpus.texts import read_labeled_texts
from smotext_ray.errors import UserError
from smotext_ray.evaluation.rows import LabeledTexts, Rows, encoded, unencoded
from smotext_ray.run.corpus_files import corpus_table
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.release import has_release
from smotext_ray.run.renamed import renamed_reason
from smotext_ray.run.result import delivered_samples
from smotext_ray.run.tables import embeddings_table, samples_table
from smotext_ray.tables import matrix

log = logging.getLogger("smotext_ray")

EVERY_ROW = 2**62


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """A run and its test texts, in memory.

    Attributes
    ----------
    real, synthetic, test : Rows
        The corpus, the synthetic texts of the result, and texts that no stage has seen.
    parents : ndarray of int64, shape (synthetic, p)
        Rows of ``real``: the source and neighbors of each synthetic text, from `parent_rows`.
    points : ndarray of float32, shape (synthetic, d)
    sample_ids : list of int, length synthetic
    samples : list of dict
        All samples, including rejected ones, with their parents' texts if the run has them;
        ``delivered`` says whether a sample is in the result.
    """

    real: Rows
    synthetic: Rows
    test: Rows
    parents: np.ndarray
    points: np.ndarray
    sample_ids: list[int]
    samples: list[dict[str, Any]]


def read_held_out(
    run: Run, test: str, text_column: str | None = None, label_column: str | None = None
) -> LabeledTexts:
    """Read the test texts and check that they fit this run.

    Parameters
    ----------
    run : Run
    test : str
        Table of labeled texts; ``demo:NAME`` is the test split of that dataset.
    text_column, label_column : str, optional
        Column names in the table; by default those of the run's input, or the demo dataset's.

    Returns
    -------
    LabeledTexts

    Raises
    ------
    UserError
        If the run has no accepted texts, the table cannot be read, or it has a class that the
        corpus lacks.
    """
    _rounds_with_texts(run)
    if test.startswith(DEMO) and ":" not in test.removeprefix(DEMO):
        test += ":test"  # without it, a demo dataset means its training texts
    own = InputConfig() if test.startswith(DEMO) else Manifest.read(run).config.input
    columns = text_column or own.text_column, label_column or own.label_column
    texts, labels = read_labeled_texts(test, *columns, EVERY_ROW)
    known = set(map(str, Manifest.read(run).labels))
    names = _names(labels or [], Manifest.read(run).labels)
    strange = sorted(set(names) - known)
    if strange:
        raise UserError(
            f"{test} has classes that the run's corpus lacks ({', '.join(strange[:5])}); test on "
            "texts of the corpus's classes only."
        )
    return LabeledTexts(texts, names)


def _names(labels: Sequence[Any], of_run: Sequence[Any]) -> list[str]:
    """Labels of a table in the form of a run's; older runs may have floats for integers."""
    floats = {str(int(label)): str(label) for label in of_run if isinstance(label, float)}
    return [floats.get(str(label), str(label)) for label in labels]


def read_corpus(run: Run, file: str | None) -> LabeledTexts | None:
    """Read the corpus of a run that has not kept it (``privacy.epsilon``).

    Parameters
    ----------
    run : Run
    file : str or None
        The table that the run was created from.

    Returns
    -------
    LabeledTexts or None
        In the run's order; None if the run has kept its corpus.

    Raises
    ------
    UserError
        If the table is missing, not needed, or not the one the run was created from.
    """
    if "text" in run.table("embeddings").schema.names:
        if file:
            raise UserError(f"The run {run.uri} has kept its corpus; omit --corpus.")
        return None
    if not file:
        raise UserError(
            f"The run {run.uri} has not kept the texts of its corpus (privacy.epsilon); name the "
            "table that it was made from with --corpus."
        )
    manifest = Manifest.read(run)
    names = manifest.config.input
    columns = names.text_column, names.label_column
    texts, labels = read_labeled_texts(file, *columns, EVERY_ROW)
    found = _names(labels or [], manifest.labels)
    wanted = {str(label): number for label, number in manifest.class_counts.items()}
    # A release has only noisy counts.
    is_exact = manifest.privacy is None or manifest.privacy.neighbors is None
    if is_exact and (Counter(found) != wanted or manifest.input.bad_rows):
        raise UserError(
            f"{file} does not match the rows of the run {run.uri}; give the exact table that it "
            "was made from, which must have had no bad rows."
        )
    return LabeledTexts(texts, found)


def read_evaluation_data(
    run: Run,
    held_out: LabeledTexts,
    encode: Callable[[list[str]], np.ndarray],
    corpus: LabeledTexts | None = None,
) -> EvaluationData:
    """Read a finished run, and encode its synthetic texts and the test texts.

    Parameters
    ----------
    run : Run
    held_out : LabeledTexts
    encode : callable
        Maps texts to embeddings with the run's encoder.
    corpus : LabeledTexts, optional
        The corpus of a run that has not kept it.

    Returns
    -------
    EvaluationData

    Raises
    ------
    UserError
        If the run has no accepted texts.
    """
    rounds, new = _rounds_with_texts(run), new_samples(run)
    row_of = row_numbers(run)
    texts, sample_ids = new["text"].to_pylist(), new["sample_id"].to_pylist()
    if corpus is None:
        real = _corpus_rows(run, row_of, encode)
    else:  # the run's embeddings have noise added
        real = Rows(corpus.texts, encode(corpus.texts), corpus.labels)
    # The page must not show texts that the run was not allowed to keep.
    shown = {} if corpus else dict(zip(row_of, real.texts, strict=True))
    return EvaluationData(
        real=real,
        synthetic=Rows(texts, encode(texts), _labels(new)),
        test=Rows(held_out.texts, encode(held_out.texts), held_out.labels),
        # The points of a release have no parents among the rows of the corpus.
        parents=np.empty((len(new), 0), np.int64) if has_release(run) else parent_rows(new, row_of),
        points=_points(run, rounds, sample_ids),
        sample_ids=sample_ids,
        samples=_samples(run, rounds, shown, set(sample_ids)),
    )


def row_numbers(run: Run) -> dict[Any, int]:
    """The number of each corpus row by its id: its index when all rows are sorted by id."""
    manifest = Manifest.read(run)
    source = run.table("embeddings") if manifest.is_private else corpus_table(run, manifest)
    ids = source.to_table(columns=["id"]).sort_by("id")["id"]
    return {id_: row for row, id_ in enumerate(ids.to_pylist())}


def _corpus_rows(
    run: Run, row_of: Mapping[Any, int], encode: Callable[[list[str]], np.ndarray]
) -> Rows:
    """All rows of the corpus; those that the run did not embed are encoded here."""
    corpus = corpus_table(run, Manifest.read(run)).to_table(columns=["id", "text", "label"])
    corpus, embedded = corpus.sort_by("id"), embeddings_table(run).to_table(["id", "embedding"])
    dim = embedded["embedding"].type.list_size
    rows = unencoded(corpus["text"].to_pylist(), _labels(corpus), dim)
    known = [row_of[id_] for id_ in embedded["id"].to_pylist()]
    rows.embeddings[known] = matrix(embedded["embedding"])
    if missing := len(corpus) - len(known):
        log.info("encoding %d texts of the corpus that the run did not need", missing)
    return encoded(rows, encode)


def parent_rows(samples: pa.Table, row_of: Mapping[Any, int]) -> np.ndarray:
    """The parents of samples as rows of the corpus.

    Parameters
    ----------
    samples : pyarrow.Table
    row_of : mapping of id to int

    Returns
    -------
    ndarray of int64, shape (samples, p)
        The source, the neighbor, and more neighbors if several are mixed; samples with fewer
        neighbors are padded with their source.
    """
    columns = [samples[name].to_pylist() for name in ("source_id", "neighbor_id")]
    if "other_neighbor_ids" in samples.column_names:
        others = samples["other_neighbor_ids"].to_pylist()
        most = max(map(len, others), default=0)
        filled = [ids + [columns[0][i]] * (most - len(ids)) for i, ids in enumerate(others)]
        columns += [[ids[j] for ids in filled] for j in range(most)]
    return np.array([[row_of[id_] for id_ in column] for column in columns], np.int64).T


def new_samples(run: Run) -> pa.Table:
    """The samples that are, or will be, the synthetic rows of the result.

    Raises
    ------
    UserError
        If there are none.
    """
    rounds, wanted = _rounds_with_texts(run), Manifest.read(run).targets or {}
    return pa.concat_tables(list(delivered_samples(run, rounds, wanted)))


def _rounds_with_texts(run: Run) -> list[int]:
    """The decoded rounds; UserError if they have no accepted texts."""
    manifest = Manifest.read(run)
    if not any(manifest.accepted().values()):
        raise UserError(f"The run {run.uri} has no accepted texts yet; run smotext augment first.")
    return [entry.round for entry in manifest.rounds if entry.decode is not None]


def _labels(table: pa.Table) -> list[str]:
    return [str(label) for label in table["label"].to_pylist()]


def _points(run: Run, rounds: list[int], wanted: list[int]) -> np.ndarray:
    """Points of the samples in ``wanted``, in that order."""
    found: dict[int, np.ndarray] = {}
    chosen = set(wanted)
    for round_ in rounds:
        plan = run.table("plan", f"round-{round_}").to_table(columns=["sample_id", "point"])
        points = matrix(plan["point"])
        for row, sample_id in enumerate(plan["sample_id"].to_pylist()):
            if sample_id in chosen:
                found[sample_id] = points[row]
    return np.stack([found[sample_id] for sample_id in wanted])


def _samples(
    run: Run, rounds: list[int], text_of: dict[Any, str], delivered: set[int]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for round_ in rounds:
        for row in samples_table(run, "samples", f"round-{round_}").to_table().to_pylist():
            rows.append(
                {
                    "sample_id": row["sample_id"],
                    "label": row["label"],
                    "status": row["status"],
                    "delivered": row["sample_id"] in delivered,
                    "reason": renamed_reason(row["reason"]),
                    "text": row["text"],
                    "source_text": text_of.get(row["source_id"]),
                    "neighbor_text": text_of.get(row["neighbor_id"]),
                    "lam": row["lam"],
                    "cosine": row["cosine_to_point"],
                    "round": round_,
                }
            )
    return sorted(rows, key=lambda row: row["sample_id"])
