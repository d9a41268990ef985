"""What became of each class of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smotext_ray.plan.multilabel import mean_imbalance_ratio
from smotext_ray.run.manifest import Manifest


@dataclass(frozen=True)
class ClassOutcome:
    """What became of a class.

    Attributes
    ----------
    label : object
        By its name, if it has one.
    before : int
        Its rows in the corpus.
    asked, accepted : int
        New texts. Where rows have several labels, those with this one, whichever they were made
        for.
    after : int
        Its rows in the result, which of a run with epsilon holds none of the corpus.
    """

    label: Any
    before: int
    asked: int
    accepted: int
    after: int


def class_outcomes(manifest: Manifest) -> list[ClassOutcome]:
    """What became of each class, in the order of the corpus."""
    wanted, got = manifest.targets or {}, manifest.accepted()
    outcomes = []
    for label, before in manifest.class_counts.items():
        asked, accepted = wanted.get(label, 0), got.get(label, 0)
        kept = 0 if manifest.is_private else before
        made = min(asked, accepted)
        if manifest.result is not None and manifest.result.synthetic_labels is not None:
            made = manifest.result.synthetic_labels.get(label, 0)
        after = kept + made
        outcomes.append(ClassOutcome(manifest.called(label), before, asked, accepted, after))
    return outcomes


def mean_imbalance(outcomes: list[ClassOutcome]) -> tuple[float, float]:
    """MeanIR of a corpus with several labels per row, before and after."""
    before = mean_imbalance_ratio({each.label: each.before for each in outcomes})
    return before, mean_imbalance_ratio({each.label: each.after for each in outcomes})


def imbalance_in_words(manifest: Manifest) -> str | None:
    """MeanIR before and after; None where rows have one class each."""
    if not manifest.is_multilabel:
        return None
    before, after = mean_imbalance(class_outcomes(manifest))
    return (
        "Imbalance, as the mean over labels of how many times as many rows the most frequent label "
        f"has (MeanIR): {before:.2f} before, {after:.2f} after."
    )
