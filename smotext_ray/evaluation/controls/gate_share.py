"""What the gate alone contributes: the run's texts without its selection, or with its labels.

Nothing is decoded for these controls. The gate and the classifier use the same encoder, so a gain
may come from the encoder's knowledge rather than from the texts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smotext_ray.evaluation.controls.decode import Control, parents_of
from smotext_ray.evaluation.rows import Rows
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest

UNGATED, LABELED_BY_GATE = "ungated", "labeled_by_gate"


def gate_controls(
    run: Run, encode: Callable[[list[str]], np.ndarray], seed: int = 0
) -> dict[str, Control]:
    """The run's decoded texts, accepted or not, as two controls.

    ``ungated`` keeps the class that each text was made for. ``labeled_by_gate`` takes the class
    that the gate's discriminant analysis of the real rows finds, which is self-training on the
    decoded texts. Of a sample's candidates, both take the one that the gate preferred.

    Parameters
    ----------
    run : Run
    encode : callable
        Maps texts to embeddings with the run's encoder.
    seed : int, default=0
        Seed for the order of the texts, of which each class takes the first.

    Returns
    -------
    dict of str to Control
    """
    rounds = [entry for entry in Manifest.read(run).rounds if entry.decode is not None]
    tables = [run.table("samples", entry.name).to_table() for entry in rounds]
    samples = pa.concat_tables(tables, promote_options="default")
    samples = samples.filter(pc.not_equal(samples["status"], "error"))
    order = np.random.default_rng([seed, 29]).permutation(len(samples))
    samples = samples.take(_first_of_texts(samples["text"].to_pylist(), order))
    texts = samples["text"].to_pylist()
    embeddings, parents = encode(texts), parents_of(run, samples)
    found = {}
    for name, column in ((UNGATED, "label"), (LABELED_BY_GATE, "predicted_label")):
        rows = Rows(texts, embeddings, [str(label) for label in samples[column].to_pylist()])
        found[name] = Control(rows, parents, asked=len(order), accepted=len(rows))
    return found


def _first_of_texts(texts: list[str], order: np.ndarray) -> list[int]:
    """Row numbers in this order, without repeated or empty texts."""
    seen: dict[str, int] = {}
    for row in order.tolist():
        if texts[row]:
            seen.setdefault(texts[row], row)
    return list(seen.values())
