"""The report's content, one class per section."""

from __future__ import annotations

from typing import Any, TypedDict

Label = str | int | bool


class Interval(TypedDict):
    """A mean over seeds and its confidence interval; low and high are None for one seed."""

    mean: float | None
    low: float | None
    high: float | None


class RunFacts(TypedDict, total=False):
    """Where the report comes from."""

    uri: str
    rows: int  # in the corpus
    synthetic: int  # texts in the result, the ones that are judged
    accepted: int  # by the gate, without repeated texts
    rejected: int
    encoder: str
    llm: str
    bridge: str
    created: str
    seed: int
    test: str
    test_rows: int
    test_texts_in_corpus: int
    measured: str  # ISO 8601
    version: str
    quick: bool
    settings: dict[str, Any]  # by section, without resources


class ClassBalance(TypedDict):
    """A class before and after."""

    label: Label
    real: int
    accepted: int
    target: int | None  # requested total of real and synthetic rows; None if none was requested


class UtilityRow(Interval):
    """One arm: the same classifier and seeds on different training data.

    `words` has display names of classifiers, arms and metrics; others are shown by their own names.
    """

    classifier: str
    arm: str
    metric: str
    values: list[float]  # one per seed


class Recall(Interval):
    """Recall of one class."""

    classifier: str
    arm: str
    label: Label


class Gain(Interval):
    """real_and_synthetic minus another arm, seed by seed."""

    classifier: str
    metric: str
    against: str
    p: float | None  # two-sided; except for the baseline, adjusted by Holm; None for one seed


class OverBaseline(TypedDict):
    """real_and_synthetic compared with the one baseline that was chosen beforehand."""

    classifier: str
    metric: str
    helps: bool | None  # all intervals lie above zero; None if one has no bounds
    own: float
    baseline: float
    over_draws: Interval  # of the training rows
    over_test_rows: Interval | None  # by a bootstrap over them; only for macro_f1


class Verdict(TypedDict):
    """Whether a gain is credited to interpolation: it must significantly beat both controls."""

    classifier: str
    metric: str
    counts: bool
    over_lam_0: Gain
    over_label_only: Gain


class EmptyArm(TypedDict):
    """A decoded control none of whose texts passed the gate."""

    arm: str
    asked: int


class Utility(TypedDict, total=False):
    """Classifiers trained on the arms, tested on real texts."""

    test_rows: int
    seeds: list[int]
    rows: list[UtilityRow]
    recall: list[Recall]
    tstr_ratio: dict[str, Any]  # nested names to numbers or Intervals
    tstr_difference: dict[str, Any]  # likewise: synthetic_only minus nothing
    gains: list[Gain]
    baseline: str  # the arm that over_baseline compares with
    over_baseline: list[OverBaseline]
    verdicts: list[Verdict]  # for classifiers that were trained on both controls
    empty_arms: list[EmptyArm]


class BestControl(TypedDict):
    """The best arm apart from real texts alone and those with synthetic texts."""

    arm: str
    mean: float
    gain: Interval  # of real_and_synthetic over it


class Change(TypedDict):
    """Recall of a class with real texts alone, and with synthetic ones added."""

    label: Label
    before: float
    after: float


class Outcome(TypedDict):
    """The verdict for one classifier."""

    classifier: str
    metric: str
    before: float  # real texts alone
    after: float  # real_and_synthetic
    gain: Interval
    baseline: str | None  # chosen beforehand
    best_control: BestControl | None
    recall: Change | None
    call: str
    words: str


class Missing(TypedDict):
    """A measurement that was left out; ``command``, if any, would make it."""

    what: str
    command: str | None


class Summary(TypedDict):
    """The head of the report."""

    verdicts: list[Outcome]
    warnings: list[str]
    unmeasured: list[Missing]


class ClassFidelity(TypedDict):
    """The synthetic texts of one class compared with its real ones.

    ``accuracy`` and ``agreement``: share of the real and of the synthetic texts that a classifier
    trained on other real texts assigns to this class. ``to_point``: mean cosine to the target
    points. ``..._to_nearest``: median cosine to the nearest (other) real text of the class. Words
    are medians.
    """

    label: Label
    real: int
    synthetic: int
    test: int
    real_words: float
    synthetic_words: float
    accuracy: float | None
    agreement: float | None
    to_point: float
    real_to_nearest: float | None
    synthetic_to_nearest: float


class Check(TypedDict):
    """A row of the privacy section."""

    name: str
    value: float | str | Interval | None
    note: str


class UtilityAtEpsilon(Interval):
    """A point of the utility-epsilon plot; epsilon is None without noise."""

    epsilon: float | None
    classifier: str
    metric: str


class Privacy(TypedDict, total=False):
    """Copies and attacks; with an epsilon, also the privacy guarantee."""

    epsilon: float | None
    delta: float | None
    sensitivity: float | None
    neighbors: str | None  # how the corpora differ that the guarantee makes indistinguishable
    labels: str | None  # what is protected about them
    public_data: str | None
    assumes: str | None
    rows: list[Check]
    utility: list[UtilityAtEpsilon]


class MapPoint(TypedDict, total=False):
    """A text on the map."""

    x: float
    y: float
    label: Label
    kind: str  # real or synthetic
    id: Any  # the sample_id of a synthetic text
    text: str | None  # may be omitted if it is in samples


class Map(TypedDict):
    """Embeddings projected to two dimensions."""

    method: str
    explained: list[float]  # share of the variance along x and y
    points: list[MapPoint]


class Series(TypedDict):
    """A group of a histogram; there is one more edge than counts."""

    name: str
    edges: list[float]
    counts: list[int]


class Histogram(TypedDict):
    """Up to four groups on one axis."""

    name: str
    unit: str
    scale: str  # linear or log
    series: list[Series]


class Rejection(TypedDict):
    """How often the gate rejected for a reason."""

    reason: str
    count: int


class Sample(TypedDict):
    """A synthetic text with its parents."""

    sample_id: int
    label: Label
    status: str  # accepted, rejected or error
    delivered: bool  # in the result
    reason: str | None
    text: str | None
    source_text: str | None  # None if it must not be shown
    neighbor_text: str | None
    lam: float
    cosine: float | None  # to the target point
    round: int


class Learned(TypedDict):
    """A student compared with its teacher; ``student`` is embedding, tfidf or bert."""

    student: str
    labels: str  # soft (the teacher's) or hard (the class the texts were generated for)
    metric: str
    teacher: float  # the same for every seed
    score: Interval
    ratio: Interval  # of student to teacher


class Agreed(TypedDict):
    """How often a student agrees with its teacher on test texts."""

    student: str
    labels: str
    share: Interval


class Distillation(TypedDict, total=False):
    """Students trained on the synthetic texts only, compared with their teacher."""

    teacher: str
    student: str
    note: str | None  # why no student was trained
    rows: list[Learned]
    agreement: list[Agreed]


class Report(TypedDict, total=False):
    """report.json. A section that is missing, None or empty is not shown."""

    summary: Summary
    run: RunFacts | None
    classes: list[ClassBalance] | None
    utility: Utility | None
    fidelity: dict[str, Any] | None  # nested names to numbers, Intervals or Spreads
    by_class: list[ClassFidelity] | None
    privacy: Privacy | None
    map: Map | None
    histograms: list[Histogram] | None
    rejections: list[Rejection] | None
    samples: list[Sample] | None
    distillation: Distillation | None
