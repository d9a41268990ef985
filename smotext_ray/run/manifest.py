"""A run's manifest: its inputs, progress and outcomes, and properties derived from them.

The models define the keys of ``manifest.json``; keys with the value None are not written.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Literal

from pydantic import Field, ValidationError

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError, one_line
from smotext_ray.plan.strategy import called
from smotext_ray.privacy.promise import Promise
from smotext_ray.run.directory import MANIFEST, Run
from smotext_ray.run.facts import (
    AdaptedBridge,
    BegunControl,
    Counts,
    DecodedControl,
    Expansion,
    Facts,
    InputFacts,
    Label,
    Result,
    Round,
    StageFacts,
    StoredConfig,
    WeightFacts,
)
from smotext_ray.run.renamed import renamed_manifest
from smotext_ray.run.versions import read_newest, save_version

FORMAT: Literal[1] = 1

# "denoise" is in runs of earlier versions with epsilon.
StageName = Literal[
    "corpus", "choose", "embed", "denoise", "release", "reference", "adapt", "result"
]


class Manifest(Facts):
    """A run's ``manifest.json``.

    A stage is done if it is in ``stages``. ``weights`` to ``warnings`` are set once the run knows
    its targets, ``shortfall`` and ``result`` once it has a result; an expansion resets the targets
    and the result's stage. ``privacy`` is set in a run with epsilon, ``adapted`` once its bridge
    has been adapted. ``embedded`` has the number of rows per class that get an embedding; None
    means all. ``together`` is set if rows have several labels: the share of the points made for the
    first label that has the second.
    """

    format: Literal[1] = FORMAT
    smotext_ray: str
    created: str
    config: StoredConfig
    models: dict[str, dict[str, str]]
    packages: dict[str, str]
    stages: dict[StageName, StageFacts] = Field(default_factory=dict)
    rounds: list[Round] = Field(default_factory=list)
    input: InputFacts
    embedded: Counts | None = None
    privacy: Promise | None = None
    weights: WeightFacts | None = None
    adapted: AdaptedBridge | None = None
    targets: Counts | None = None
    together: list[tuple[Label, Label, float]] | None = None
    warnings: list[str] | None = None
    shortfall: Counts | None = None
    result: Result | None = None
    expansions: list[Expansion] | None = Field(None, min_length=1)
    controls: dict[str, DecodedControl | BegunControl] | None = None

    @classmethod
    def read(cls, run: Run) -> Manifest:
        """Read the current manifest from disk.

        Raises
        ------
        UserError
            If it is missing, damaged or from another version.
        """
        try:
            content = read_newest(run)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"There is no run in {run.uri} (no {MANIFEST}).") from None
        except ValueError as error:
            raise UserError(f"The {MANIFEST} in {run.uri} is damaged: {error}.") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UserError(_of_another_version(run))
        content.pop("version", None)
        try:
            return cls.model_validate(renamed_manifest(content))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UserError(_of_another_version(run, f"{place}: {first['msg']}")) from error

    def save(self, run: Run) -> None:
        """Replace the manifest on disk atomically.

        Raises
        ------
        LeaseLost
            If this process had a lease and has lost it; readers then ignore what it saves.
        pydantic_core.PydanticSerializationError
            For a value of the wrong type.
        """
        content = self.model_dump_json(exclude_none=True, warnings="error")
        save_version(run, json.loads(content))

    @property
    def class_counts(self) -> dict[Any, int]:
        """Number of corpus rows per class."""
        return self.input.class_counts

    @property
    def embedded_counts(self) -> dict[Any, int]:
        """Number of rows per class in ``embeddings/``, once its stage is done."""
        return self.class_counts if self.embedded is None else self.embedded

    @property
    def embedded_rows(self) -> int:
        """Number of rows in ``embeddings/``, once its stage is done."""
        return self.input.rows if self.is_multilabel else sum(self.embedded_counts.values())

    @property
    def is_multilabel(self) -> bool:
        """Whether rows have several labels."""
        return self.input.multilabel is not None

    @property
    def is_embedded(self) -> bool:
        """Whether all rows that the run needs have an embedding.

        An expansion with another target leaves the stage marked as done, but chooses rows again.
        """
        is_chosen = "choose" in self.stages or self.embedded is None
        return "embed" in self.stages and is_chosen

    @property
    def labels(self) -> list[Any]:
        """All classes, in the order of the reference."""
        return list(self.input.class_counts)

    def called(self, label: Any) -> Any:
        """The name of a class; its label if it has no name."""
        return called(label, self.input.class_names)

    @property
    def is_private(self) -> bool:
        """Whether the run has an epsilon."""
        return self.privacy is not None

    @property
    def round_numbers(self) -> list[int]:
        """All planned rounds."""
        return [entry.round for entry in self.rounds]

    @property
    def points(self) -> int:
        """Number of target points of all rounds; the next sample id."""
        return sum(entry.points for entry in self.rounds)

    @property
    def last_expansion(self) -> Expansion | None:
        """The run's last expansion, which may be in progress."""
        return self.expansions[-1] if self.expansions else None

    @property
    def is_expanding(self) -> bool:
        """Whether an expansion is in progress."""
        return self.last_expansion is not None and self.last_expansion.finished is None

    @property
    def rounds_used(self) -> int:
        """Number of rounds since the run, or its last expansion, started."""
        last = self.last_expansion
        return len(self.rounds) - (last.rounds_before if last else 0)

    @property
    def effective_config(self) -> RunConfig:
        """The run's settings, overridden by its last expansion."""
        last = self.last_expansion
        return last.applied_to(self.config) if last else self.config

    @property
    def undecoded_round(self) -> Round | None:
        """The round that is planned but not decoded, if any."""
        return next((entry for entry in self.rounds if entry.decode is None), None)

    @property
    def written_result(self) -> Result:
        """The result of a run that is known to have one."""
        assert self.result is not None
        return self.result

    def is_finished(self, config: RunConfig) -> bool:
        """Whether there is a result, and no class would benefit from another round."""
        if "result" not in self.stages:
            return False
        if self.expansions:
            return not self.is_expanding
        return not self.shortfall or len(self.rounds) >= config.plan.max_rounds

    def planned(self) -> Counter[Any]:
        """Number of target points per class over all rounds."""
        total: Counter[Any] = Counter()
        for entry in self.rounds:
            total.update(entry.planned)
        return total

    def accepted(self) -> dict[Any, int]:
        """Number of accepted samples per class over all rounds."""
        total: Counter[Any] = Counter()
        for entry in self.rounds:
            if entry.decode is not None:
                total.update(entry.decode.accepted)
        return dict(total)

    @property
    def usable_texts(self) -> int:
        """Number of decoded texts that were accepted, whatever their labels."""
        decoded = sum(entry.points for entry in self.rounds if entry.decode is not None)
        return decoded - sum(self.rejections().values())

    def rejected(self) -> Counter[Any]:
        """Number of samples per class that are not usable, by the label that they were made for."""
        total: Counter[Any] = Counter()
        for entry in self.rounds:
            for label, _, number in entry.decode.reasons_by_class if entry.decode else ():
                total[label] += number
        return total

    def rejections(self) -> Counter[str]:
        """Number of rejected texts of all decoded rounds, by reason."""
        reasons: Counter[str] = Counter()
        for entry in self.rounds:
            if entry.decode is not None:
                reasons.update(entry.decode.reasons)
        return reasons


def _of_another_version(run: Run, detail: str = "") -> str:
    shown = f" ({one_line(ValueError(detail), most=200)})" if detail else ""
    return (
        f"The {MANIFEST} in {run.uri} is from another version of smotext{shown}; "
        "use the version that wrote it, or a new directory."
    )
