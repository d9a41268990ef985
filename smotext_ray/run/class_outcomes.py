"""The outcome of each class of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smotext_ray.plan.multilabel import mean_imbalance_ratio
from smotext_ray.run.manifest import Manifest


@dataclass(frozen=True)
class ClassOutcome:
    """The outcome of a class.

    Attributes
    ----------
    label : object
        Its name, if it has one.
    before : int
        Number of its rows in the corpus.
    asked, accepted : int
        Numbers of new texts. If rows have several labels, those with this one, whichever label they
        were made for.
    after : int
        Number of its rows in the result, which has no corpus rows if the run has an epsilon.
    """

    label: Any
    before: int
    asked: int
    accepted: int
    after: int


def class_outcomes(manifest: Manifest) -> list[ClassOutcome]:
    """The outcome of each class, in the order of the corpus."""
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
    """MeanIR before and after; None if rows have one class each."""
    if not manifest.is_multilabel:
        return None
    before, after = mean_imbalance(class_outcomes(manifest))
    return (
        "Imbalance, as the mean over labels of how many times as many rows the most frequent label "
        f"has (MeanIR): {before:.2f} before, {after:.2f} after."
    )
