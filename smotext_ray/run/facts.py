"""The parts of a run's manifest as typed values: what was read, done and counted.

Counts per class are pairs in JSON, to preserve the type of labels; here they are dictionaries.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_serializer,
)

from smotext_ray.config.choices import OnProblem
from smotext_ray.config.schema import RunConfig
from smotext_ray.config.stored import config_json
from smotext_ray.errors import UserError

# Letters, digits, "_", "." and "-"; no part is empty or begins with a dot.
NAME_IN_RUN = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)

Label = StrictBool | StrictInt | StrictFloat | StrictStr


def _from_pairs(given: Any) -> Any:
    return dict(given) if isinstance(given, list) else given


def to_pairs(counts: dict[Any, int] | None) -> list[list[Any]] | None:
    """A mapping as JSON that preserves the labels' types."""
    return None if counts is None else [[label, number] for label, number in counts.items()]


def _as_stored(config: RunConfig) -> RunConfig:
    """The settings without credentials in the input URI."""
    return RunConfig.model_validate(config_json(config))


def _in_run(name: str) -> str:
    """Reject a name that would lead out of the run directory."""
    if not NAME_IN_RUN.fullmatch(name):
        raise UserError(
            f"The manifest names the file {name!r}, which no run writes; it was changed by "
            "someone else, so do not use this run directory."
        )
    return name


Counts = Annotated[
    dict[Label, int], BeforeValidator(_from_pairs), PlainSerializer(to_pairs, when_used="json")
]
StoredConfig = Annotated[
    RunConfig, AfterValidator(_as_stored), PlainSerializer(config_json, when_used="json")
]

NameInRun = Annotated[str, AfterValidator(_in_run)]


class Facts(BaseModel):
    """A part of the manifest. Assigned values are validated like values that are read."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, protected_namespaces=())


class BadRows(Facts):
    """Input rows skipped for one reason; ``examples`` are some of their ids."""

    count: int
    examples: list[Any]


class InputFacts(Facts):
    """The corpus. ``files`` is the number of valid files in ``corpus/``, once written; until then
    ``digest`` is that of the surveyed rows. ``class_names`` has the names of numbered classes.
    ``multilabel`` is true if a row counts for each of its labels, which are its classes."""

    rows: int
    class_counts: Counts
    bad_rows: dict[str, BadRows] = {}
    columns: list[str] = []
    class_names: dict[int, str] | None = None
    multilabel: Literal[True] | None = None
    files: int | None = None
    digest: str | None = None


class StageFacts(Facts):
    """A finished stage: duration, rows, and number of actors."""

    seconds: float
    rows: int | None = None
    actors: int | None = None


class WeightFacts(Facts):
    """The files of ``weights/`` with their SHA-256."""

    files: dict[NameInRun, str]
    seconds: float


class Outcome(Facts):
    """Summary of decoded samples.

    Attributes
    ----------
    accepted : dict of label to int
        Number of usable samples per class, or with each label, whichever label they were made for.
    reasons : dict of str to int
        Number of rejected samples by reason.
    reasons_by_class : list of (label, str, int)
    mean_cosine : float or None
        Mean cosine of usable samples to their target points; None if there are none.
    """

    accepted: Counts
    reasons: dict[str, int]
    reasons_by_class: list[tuple[Label, str, int]]
    mean_cosine: float | None

    @model_serializer(mode="wrap")
    def _with_null(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return serialize(self) | {"mean_cosine": self.mean_cosine}


class JobFacts(Facts):
    """A decode job: seconds, generated tokens, and the decoders that worked on it."""

    seconds: float
    tokens: int
    actors: int


class Decoded(JobFacts, Outcome):
    """A decoded round."""


class Round(Facts):
    """A planned round; ``plan_files`` are files of ``plan/`` with their SHA-256."""

    round: int
    planned: Counts
    plan_seconds: float
    plan_files: dict[NameInRun, str]
    decode: Decoded | None = None

    @property
    def name(self) -> str:
        """The directory of the round in ``plan/`` and ``samples/``."""
        return f"round-{self.round}"

    @property
    def points(self) -> int:
        """Number of target points of the round, over all classes."""
        return sum(self.planned.values())


class AdaptedBridge(Facts):
    """The adaptation of the run's bridge to the run's own texts.

    Attributes
    ----------
    texts, held_out, replayed, steps : int
    cosine_before, cosine_after : float or None
        See `smotext_ray.training.adapt.Adaptation`.
    files : dict of str to str
        Files of the adapted bridge with SHA-256; empty if it was not kept, and the run's points are
        decoded with its original bridge.
    """

    texts: int
    held_out: int
    replayed: int
    steps: int
    cosine_before: float | None = None
    cosine_after: float | None = None
    files: dict[NameInRun, str]

    def in_words(self) -> str:
        """Whether the adapted bridge is used, and why."""
        if self.cosine_before is None or self.cosine_after is None:
            return (
                f"The bridge was not adapted: {self.texts} distinct texts that are short enough to "
                "train on are too few."
            )
        outcome = "it is used" if self.files else "the bridge is used as it was"
        return (
            f"The bridge learned from {self.texts - self.held_out} texts in {self.steps} steps; "
            f"cosine of the greedy texts of {self.held_out} others {self.cosine_before:.3f} before "
            f"and {self.cosine_after:.3f} after: {outcome}."
        )


class BegunControl(Facts):
    """A control of an evaluation that is not decoded yet."""

    points: int


class DecodedControl(Decoded):
    """A decoded control of an evaluation."""

    points: int


class TextLengths(Facts):
    """Words of texts: a tenth has at most ``low``, half ``median`` and nine tenths ``high``."""

    low: int
    median: int
    high: int

    def in_words(self) -> str:
        """The three numbers as they are printed."""
        return f"{self.low} / {self.median} / {self.high}"


class Result(Facts):
    """The result: a file or a directory of the run, its rows, and SHA-256 by file.

    ``synthetic_labels`` has the number of synthetic rows with each label, if rows have several.
    ``real_words`` has the lengths of original texts in classes that got new ones; unknown for
    results of older versions, and with epsilon.
    """

    path: NameInRun
    rows: int
    synthetic: int
    sha256: dict[NameInRun, str]
    synthetic_labels: Counts | None = None
    real_words: TextLengths | None = None
    synthetic_words: TextLengths | None = None

    def lengths_in_words(self) -> str | None:
        """A sentence on the lengths of the texts; None if they are unknown."""
        if self.synthetic_words is None:
            return None
        sides = [("synthetic", self.synthetic_words)]
        if self.real_words is not None:
            sides.insert(0, ("real (of these classes)", self.real_words))
        told = ", ".join(f"{name} {found.in_words()}" for name, found in sides)
        return f"Words per text (shortest tenth / median / longest tenth): {told}."

    @property
    def times_shorter(self) -> float | None:
        """Ratio of the median lengths of real and synthetic texts; None if unknown."""
        if self.real_words is None or self.synthetic_words is None:
            return None
        return self.real_words.median / max(self.synthetic_words.median, 1)


class Expansion(Facts):
    """One ``smotext expand``: its new rows, settings and outcome."""

    number: int
    began: str
    input: str
    rows_read: int
    new_rows: int
    changed_rows: int
    rounds_before: int
    files_before: int
    target: str | float | dict[str, int]
    max_rounds: int
    on_singleton_class: OnProblem
    finished: str | None = None
    accepted: Counts | None = None

    def applied_to(self, config: RunConfig) -> RunConfig:
        """The settings with the changes of the expansion."""
        content = config.model_dump()
        content["plan"] |= {"sampling_strategy": self.target, "max_rounds": self.max_rounds}
        content["neighbors"] |= {"on_singleton_class": self.on_singleton_class}
        return RunConfig.model_validate(content)
