"""In which classes the synthetic texts are good or bad: label, distance and length by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from smotext_ray.evaluation.fidelity.agreement import LabelAgreement
from smotext_ray.evaluation.inputs import EvaluationData
from smotext_ray.plan.neighbors import nearest_neighbors
from smotext_ray.plan.vectors import unit


def by_class(material: EvaluationData, agreement: LabelAgreement | None) -> list[dict[str, Any]]:
    """A `report.schema.ClassFidelity` for each class with synthetic texts.

    Parameters
    ----------
    material : EvaluationData
    agreement : LabelAgreement, optional
        None if the classes are too small for it.
    """
    real, new = material.real, material.synthetic
    labels, new_labels = np.asarray(real.labels), np.asarray(new.labels)
    x, y, points = unit(real.embeddings), unit(new.embeddings), unit(material.points)
    tested = Counter(material.test.labels)
    judged: Mapping[Any, Any] = agreement.classes if agreement else {}
    found = []
    for label in sorted(set(new.labels)):
        inside, made = np.flatnonzero(labels == label), np.flatnonzero(new_labels == label)
        verdict = judged.get(label)
        found.append(
            {
                "label": label,
                "real": len(inside),
                "synthetic": len(made),
                "test": tested[label],
                "real_words": _median_words(real.texts, inside),
                "synthetic_words": _median_words(new.texts, made),
                "accuracy": verdict and verdict.accuracy,
                "agreement": verdict and verdict.agreement,
                "to_point": float((y[made] * points[made]).sum(1).mean()),
                "real_to_nearest": nearest_other(x[inside]),
                "synthetic_to_nearest": _nearest(y[made], x[inside]),
            }
        )
    return found


def nearest_other(x: np.ndarray) -> float | None:
    """Median cosine of each row to the nearest other row; None for a single row.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows of length 1.

    Examples
    --------
    >>> nearest_other(np.array([[1.0, 0.0], [0.6, 0.8], [0.6, 0.8]]))
    1.0
    """
    if len(x) < 2:
        return None
    return 1.0 - float(np.median(nearest_neighbors(_exact(x), _exact(x), 2, "cosine")[0][:, 1]))


def _nearest(queries: np.ndarray, x: np.ndarray) -> float:
    return 1.0 - float(np.median(nearest_neighbors(_exact(queries), _exact(x), 1, "cosine")[0]))


def _exact(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.float32)


def _median_words(texts: list[str], rows: np.ndarray) -> float:
    return float(np.median([len(texts[row].split()) for row in rows]))
