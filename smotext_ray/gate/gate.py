"""Apply the gate to candidate texts: a table of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from smotext_ray.config.schema import RunConfig
from smotext_ray.gate.cleaning import Cleaning
from smotext_ray.gate.label_reference import LabelReference
from smotext_ray.gate.reference import ClassReference
from smotext_ray.gate.rules import Candidate, choose_candidate
from smotext_ray.tables import matrix, sample_table


class Gate:
    """Turns each plan row with candidate texts into a sample, accepted or rejected with a reason.

    Parameters
    ----------
    encoder : object
        Has ``encode(texts, batch_size)``, which returns embeddings.
    config : RunConfig
    reference : ClassReference or LabelReference
        Reference for ``labels``; a LabelReference if rows have several labels.
    labels : sequence
    label_type : pyarrow.DataType
    cleaning : Cleaning, optional
        Cleaning with the same labels; None if ``gate.cleaning`` is "none".
    """

    def __init__(
        self,
        encoder: Any,
        config: RunConfig,
        reference: ClassReference | LabelReference,
        labels: Sequence[Any],
        label_type: pa.DataType,
        cleaning: Cleaning | None = None,
    ) -> None:
        self._encoder = encoder
        self._config = config
        self._reference = reference
        self._codes = {label: code for code, label in enumerate(labels)}
        self._label_type = label_type
        self._cleaning = cleaning

    def __call__(self, table: pa.Table) -> pa.Table:
        rows = table.drop_columns(["point"]).to_pylist()
        points = matrix(table["point"])
        flat = [text for row in rows for text in row["texts"]]
        row_of = [row for row in rows for _ in row["texts"]]
        embeddings = self._encoder.encode(flat, self._config.encoder.batch_size)
        judged = self._judged(embeddings, row_of) if flat else []
        own = np.array([self._codes[row["label"]] for row in row_of], int)
        unclean = self._cleaning(embeddings, own) if self._cleaning else np.zeros(len(flat), bool)
        outcomes, start = [], 0
        for row, point in zip(rows, points, strict=True):
            part = slice(start, start := start + len(row["texts"]))
            near = cosines(embeddings[part], point)
            outcomes.append(self._outcome(row, near, judged[part], unclean[part]))
        return sample_table(table, outcomes, self._label_type)

    def _judged(self, embeddings: np.ndarray, rows: list[dict[str, Any]]) -> list[_Judged]:
        """What each candidate's embedding says about its labels."""
        if isinstance(self._reference, LabelReference):
            has = self._reference.has_labels(embeddings)
            return [self._with_labels(row, own) for row, own in zip(rows, has, strict=True)]
        labels = list(self._codes)
        nearest = [labels[code] for code in self._reference.nearest_class(embeddings).tolist()]
        return [
            _Judged(label == row["label"], {"predicted_label": label})
            for label, row in zip(nearest, rows, strict=True)
        ]

    def _with_labels(self, row: dict[str, Any], has: np.ndarray) -> _Judged:
        kept = [label for label in row["labels"] if has[self._codes[label]]]
        is_right = row["label"] in kept
        if self._config.gate.labels == "reject":
            is_right = len(kept) == len(row["labels"])
        if not self._config.gate.same_class:
            kept = row["labels"]
        return _Judged(is_right, {"labels": kept})

    def _outcome(
        self, row: dict[str, Any], near: np.ndarray, judged: list[_Judged], unclean: np.ndarray
    ) -> dict[str, Any]:
        if not row["texts"]:
            return {"status": "error", "reason": row["error"]}
        others = row.get("other_neighbor_texts") or []
        parents = [row["source_text"], row["neighbor_text"], *others]  # null with epsilon
        facts = (near.tolist(), [each.is_right for each in judged], unclean.tolist())
        candidates = map(Candidate, row["texts"], row["finish_reasons"], *facts)
        verdict = choose_candidate(
            list(candidates),
            [text for text in parents if text is not None],
            self._reference,
            self._config.gate,
        )
        kept = verdict.chosen
        return judged[kept].told | {
            "text": row["texts"][kept],
            "finish_reason": row["finish_reasons"][kept],
            "num_tokens": row["tokens"][kept],
            "cosine_to_point": float(near[kept]),
            "status": "accepted" if verdict.accepted else "rejected",
            "reason": verdict.reason,
        }


@dataclass(frozen=True)
class _Judged:
    """Whether a text has kept the labels of its point, and the columns that say so in a sample."""

    is_right: bool
    told: dict[str, Any]


def cosines(embeddings: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Cosine of each row to the point; shape (n,)."""
    lengths = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(point)
    return (embeddings @ point) / np.maximum(lengths, 1e-12)
