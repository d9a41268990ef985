"""What became of each class of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
        New texts.
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
        after = kept + min(asked, accepted)
        outcomes.append(ClassOutcome(manifest.called(label), before, asked, accepted, after))
    return outcomes
