"""Build and load the gate's reference."""

from __future__ import annotations

import json
from typing import Any

from safetensors.numpy import load, save

from smotext_ray.gate.label_reference import LabelReference, sum_up_labels
from smotext_ray.gate.reference import ClassReference, sum_up
from smotext_ray.run.corpus_files import rows_of
from smotext_ray.run.directory import Run
from smotext_ray.run.tables import embeddings_table
from smotext_ray.tables import is_list

DIRECTORY = "reference"
TENSORS = "reference.safetensors"
DISTINCT = "distinct.json"


def build_reference(run: Run, labels: list[Any], corpus: list[str] | None = None) -> None:
    """Write ``reference/`` from ``embeddings/`` and the texts of the corpus: see `sum_up`.

    If rows have several labels, see `sum_up_labels`.

    Parameters
    ----------
    run : Run
    labels : list
        Row i of the class means is for ``labels[i]``.
    corpus : list of str, optional
        The files of ``corpus/``; by default the embedded rows are the corpus.
    """
    embeddings = embeddings_table(run)
    texts = embeddings if corpus is None else rows_of(run, corpus)
    has_sets = is_list(embeddings.schema.field("label").type)
    reference, distinct = (sum_up_labels if has_sets else sum_up)(embeddings, labels, texts)
    run.write(save(vars(reference)), DIRECTORY, TENSORS)
    run.write(json.dumps(distinct).encode(), DIRECTORY, DISTINCT)


def load_reference(run: Run) -> ClassReference | LabelReference:
    """Load what ``build_reference`` wrote."""
    tensors = load(run.read(DIRECTORY, TENSORS))
    return LabelReference(**tensors) if "rest" in tensors else ClassReference(**tensors)


def distinct_texts(run: Run, labels: list[Any]) -> dict[Any, int]:
    """Number of distinct texts per class, ignoring case and white space."""
    return dict(zip(labels, json.loads(run.read(DIRECTORY, DISTINCT)), strict=True))
