"""Build and load the gate's reference: sums over the corpus, taken in one pass."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import load, save

from smotext_ray.columns import matrix
from smotext_ray.gate import ClassReference, class_reference, fingerprint
from smotext_ray.run import Run

DIRECTORY = "reference"
TENSORS = "reference.safetensors"
DISTINCT = "distinct.json"


def build_reference(run: Run, labels: list[Any]) -> None:
    """Write ``reference/`` from ``embeddings/``.

    Holds, beside sums, one 64-bit number a row: the fingerprints of the texts. Where
    ``embeddings/`` has no texts (epsilon), no text is known to be a copy, and each row
    counts as a text of its own.

    Parameters
    ----------
    run : Run
    labels : list
        Row i of the class means belongs to ``labels[i]``.
    """
    code = {label: i for i, label in enumerate(labels)}
    counts = np.zeros(len(labels), np.int64)
    embeddings = run.table("embeddings")
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
    run.write(
        save(
            {
                "means": reference.means,
                "whitener": reference.whitener,
                "fingerprints": reference.fingerprints,
            }
        ),
        DIRECTORY,
        TENSORS,
    )
    if has_texts:
        distinct = np.unique(owners_and_hashes, axis=0)[:, 0]
        counts = np.bincount(distinct, minlength=len(labels))
    run.write(json.dumps(counts.tolist()).encode(), DIRECTORY, DISTINCT)


def load_reference(run: Run) -> ClassReference:
    """What ``build_reference`` wrote."""
    tensors = load(run.read(DIRECTORY, TENSORS))
    return ClassReference(tensors["means"], tensors["whitener"], tensors["fingerprints"])


def distinct_texts(run: Run, labels: list[Any]) -> dict[Any, int]:
    """Texts of each class that differ by more than case and white space."""
    return dict(zip(labels, json.loads(run.read(DIRECTORY, DISTINCT)), strict=True))
