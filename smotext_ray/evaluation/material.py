"""What an evaluation reads: the real and the new texts of a run, and real texts to test on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from smotext_ray.bridge.texts import read_labelled_texts
from smotext_ray.columns import matrix
from smotext_ray.config import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.evaluation.utility import Rows
from smotext_ray.run import Run
from smotext_ray.samples import usable_samples

EVERY_ROW = 2**62


@dataclass(frozen=True, eq=False)
class Material:
    """A run and its test texts, in memory.

    Attributes
    ----------
    real, synthetic, test : Rows
        The corpus, the accepted new texts, and texts that no stage has seen.
    parents : ndarray of int64, shape (synthetic, 2)
        Rows of ``real``: each new text's source and neighbour.
    points : ndarray of float32, shape (synthetic, d)
    sample_ids : list of int, length synthetic
    samples : list of dict
        All samples, rejected ones too, with their parents' texts.
    """

    real: Rows
    synthetic: Rows
    test: Rows
    parents: np.ndarray
    points: np.ndarray
    sample_ids: list[int]
    samples: list[dict[str, Any]]


def read_material(
    run: Run, config: RunConfig, encoder: Any, test: str, text_column: str, label_column: str
) -> Material:
    """Read a finished run and the test file; encodes what has no embedding yet.

    Parameters
    ----------
    run : Run
    config : RunConfig
        The run's.
    encoder : Encoder
        The run's.
    test : str
        Table of labelled texts.
    text_column, label_column : str
        Of the test table.

    Returns
    -------
    Material

    Raises
    ------
    UserError
        If the run has no accepted texts, or test and corpus share no class.
    """
    rounds = [entry["round"] for entry in run.manifest["rounds"] if "decode" in entry]
    accepted = [t for t in usable_samples(run, rounds) if len(t)] if rounds else []
    if not accepted:
        raise UserError(f"The run {run.uri} has no accepted texts yet; run smotext augment first.")
    new = pa.concat_tables(accepted)
    corpus = run.table("embeddings").to_table().sort_by("id")
    row_of = {id_: row for row, id_ in enumerate(corpus["id"].to_pylist())}
    columns = [new[name].to_pylist() for name in ("source_id", "neighbor_id")]
    parents = [[row_of[id_] for id_ in column] for column in columns]
    texts, sample_ids = new["text"].to_pylist(), new["sample_id"].to_pylist()
    batch = config.encoder.batch_size
    real = Rows(corpus["text"].to_pylist(), matrix(corpus["embedding"]), _labels(corpus))
    return Material(
        real=real,
        synthetic=Rows(texts, encoder.encode(texts, batch), _labels(new)),
        test=_read_test(test, text_column, label_column, encoder, batch, set(real.labels)),
        parents=np.array(parents, np.int64).T,
        points=_points(run, rounds, sample_ids),
        sample_ids=sample_ids,
        samples=_samples(run, rounds, dict(zip(row_of, real.texts, strict=True))),
    )


def _labels(table: pa.Table) -> list[str]:
    return [str(label) for label in table["label"].to_pylist()]


def _read_test(
    file: str, text_column: str, label_column: str, encoder: Any, batch: int, known: set[str]
) -> Rows:
    texts, labels = read_labelled_texts(file, text_column, label_column, EVERY_ROW)
    names = [str(label) for label in labels or []]
    strange = sorted(set(names) - known)
    if strange:
        raise UserError(
            f"{file} has classes that the run's corpus lacks ({', '.join(strange[:5])}); test on "
            "texts of the corpus's own classes."
        )
    return Rows(texts, encoder.encode(texts, batch), names)


def _points(run: Run, rounds: list[int], wanted: list[int]) -> np.ndarray:
    """The points of the samples ``wanted``, in their order."""
    found: dict[int, np.ndarray] = {}
    chosen = set(wanted)
    for round_ in rounds:
        plan = run.table("plan", f"round-{round_}").to_table(columns=["sample_id", "point"])
        points = matrix(plan["point"])
        for row, sample_id in enumerate(plan["sample_id"].to_pylist()):
            if sample_id in chosen:
                found[sample_id] = points[row]
    return np.stack([found[sample_id] for sample_id in wanted])


def _samples(run: Run, rounds: list[int], text_of: dict[Any, str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for round_ in rounds:
        for row in run.table("samples", f"round-{round_}").to_table().to_pylist():
            rows.append(
                {
                    "sample_id": row["sample_id"],
                    "label": row["label"],
                    "status": row["status"],
                    "reason": row["reason"],
                    "text": row["text"],
                    "source_text": text_of[row["source_id"]],
                    "neighbor_text": text_of[row["neighbor_id"]],
                    "lam": row["lam"],
                    "cosine": row["cosine_to_point"],
                    "round": round_,
                }
            )
    return sorted(rows, key=lambda row: row["sample_id"])
