"""Build and load the gate's reference: sums over the corpus, taken in one pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from safetensors.numpy import load, save

from smotext_ray.columns import matrix
from smotext_ray.gate import ClassReference, class_reference, fingerprint
from smotext_ray.run import Run

DIRECTORY = "reference"
TENSORS = "reference.safetensors"
DISTINCT = "distinct.json"


def build_reference(run: Run, labels: list[Any]) -> None:
    """Write ``reference/`` from ``embeddings/``: see `sum_up`.

    Parameters
    ----------
    run : Run
    labels : list
        Row i of the class means belongs to ``labels[i]``.
    """
    reference, distinct = sum_up(run.table("embeddings"), labels)
    tensors = {
        "means": reference.means,
        "whitener": reference.whitener,
        "fingerprints": reference.fingerprints,
    }
    run.write(save(tensors), DIRECTORY, TENSORS)
    run.write(json.dumps(distinct).encode(), DIRECTORY, DISTINCT)


def sum_up(embeddings: ds.Dataset, labels: Sequence[Any]) -> tuple[ClassReference, list[int]]:
    """What the gate knows of a corpus, and how many distinct texts each class has.

    Holds, beside sums, one 64-bit number a row: the fingerprints of the texts. Where there
    are no texts (epsilon), no text is known to be a copy, and each row counts as a text of
    its own.

    Parameters
    ----------
    embeddings : pyarrow.dataset.Dataset
        ``label, embedding`` and, unless nobody may know it, ``text``.
    labels : sequence
        Row i of the class means belongs to ``labels[i]``.
    """
    code = {label: i for i, label in enumerate(labels)}
    counts = np.zeros(len(labels), np.int64)
    has_texts = "text" in embeddings.schema.names
    dim = embeddings.schema.field("embedding").type.list_size
    sums, scatter = np.zeros((len(labels), dim)), np.zeros((dim, dim))
    prints = [np.empty((0, 2), np.int64)]  # class and fingerprint
    columns = ["label", "embedding", *(["text"] if has_texts else [])]
    for batch in embeddings.to_batches(columns=columns):
        if not len(batch):
            continue
        table = pa.Table.from_batches([batch])
        x = matrix(table["embedding"]).astype(np.float64)
        rows = np.array([code[label] for label in table["label"].to_pylist()])
        np.add.at(sums, rows, x)
        np.add.at(counts, rows, 1)
        scatter += x.T @ x
        if has_texts:
            hashes = np.array([fingerprint(t) for t in table["text"].to_pylist()], np.int64)
            prints.append(np.stack([rows, hashes], axis=1))
    owners_and_hashes = np.concatenate(prints)
    reference = class_reference(counts, sums, scatter, owners_and_hashes[:, 1])
    if has_texts:
        distinct = np.unique(owners_and_hashes, axis=0)[:, 0]
        counts = np.bincount(distinct, minlength=len(labels))
    return reference, counts.tolist()


def load_reference(run: Run) -> ClassReference:
    """What ``build_reference`` wrote."""
    tensors = load(run.read(DIRECTORY, TENSORS))
    return ClassReference(tensors["means"], tensors["whitener"], tensors["fingerprints"])


def distinct_texts(run: Run, labels: list[Any]) -> dict[Any, int]:
    """Texts of each class that differ by more than case and white space."""
    return dict(zip(labels, json.loads(run.read(DIRECTORY, DISTINCT)), strict=True))
