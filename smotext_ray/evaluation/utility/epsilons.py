"""Utility versus epsilon: classifiers trained only on the synthetic texts of several runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from smotext_ray.errors import UserError
from smotext_ray.evaluation.inputs import new_samples
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility.classifiers import Classifier, score
from smotext_ray.evaluation.utility.draws import LEFT_OUT, by_lot
from smotext_ray.evaluation.utility.scores import summarize
from smotext_ray.evaluation.utility.section import bounds
from smotext_ray.evaluation.utility.training_sets import TrainingSet
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest

METRICS = ("accuracy", "macro_f1")


def check_runs(run: Run, others: Sequence[Run]) -> None:
    """Reject runs that cannot share one plot.

    Raises
    ------
    UserError
        If a run has different classes, or the same epsilon as another.
    """
    manifest = Manifest.read(run)
    seen = {_epsilon(manifest)}
    classes = sorted(map(str, manifest.labels))
    for other in others:
        manifest = Manifest.read(other)
        epsilon = _epsilon(manifest)
        if sorted(map(str, manifest.labels)) != classes:
            raise UserError(f"The run {other.uri} has other classes than {run.uri}; omit it.")
        if epsilon in seen:
            raise UserError(
                f"The run {other.uri} has the same privacy.epsilon as another ({epsilon}); "
                "give one run per epsilon."
            )
        seen.add(epsilon)


def utility_at_epsilons(
    runs: Sequence[Run],
    test: Rows,
    seeds: Sequence[int],
    classifiers: Mapping[str, Classifier],
    encode: Callable[[list[str]], np.ndarray],
) -> list[dict[str, Any]]:
    """Score classifiers trained on each run's synthetic texts.

    Parameters
    ----------
    runs : sequence of Run
        Runs on the same corpus.
    test : Rows
        Real test texts.
    seeds : sequence of int
        Each seed leaves out a tenth of a run's synthetic texts of each class.
    classifiers : mapping of str to Classifier
    encode : callable
        Maps texts to embeddings.

    Returns
    -------
    list of dict
        One row per run, classifier and metric: ``epsilon`` (None without noise), ``classifier``,
        ``metric``, ``mean``, ``low`` and ``high``.
    """
    rows: list[dict[str, Any]] = []
    for run in runs:
        samples, epsilon = new_samples(run), _epsilon(Manifest.read(run))
        texts = samples["text"].to_pylist()
        labels = [str(label) for label in samples["label"].to_pylist()]
        given = Rows(texts, encode(texts), labels)
        ids = [samples[column].to_numpy() for column in ("source_id", "neighbor_id")]
        new = TrainingSet(given, _numbered(np.stack(ids, axis=1)), real=0)
        for name, classifier in classifiers.items():
            scores = [score(_drawn(new, seed), test, classifier, seed) for seed in seeds]
            summary = summarize(scores, LEFT_OUT)
            for metric in METRICS:
                facts = {"epsilon": epsilon, "classifier": name, "metric": metric}
                rows.append(facts | bounds(summary, metric))
    return rows


def _drawn(new: TrainingSet, seed: int) -> TrainingSet:
    """Nine tenths of the rows of each class, and at least one."""
    labels = new.rows.labels
    counts = Counter(labels)
    numbers = {k: n - min(round(LEFT_OUT * n), n - 1) for k, n in counts.items()}
    return new.take(by_lot(labels, numbers, [seed, 11]))


def _numbered(ids: np.ndarray) -> np.ndarray:
    """Ids of any type as numbers from 0, in the same shape."""
    return np.unique(ids.astype(str), return_inverse=True)[1].reshape(ids.shape).astype(np.int64)


def _epsilon(manifest: Manifest) -> float | None:
    return manifest.privacy.epsilon if manifest.privacy is not None else None
