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
    rows: int  # of the corpus
    accepted: int
    rejected: int
    encoder: str
    llm: str
    bridge: str
    created: str
    seed: int


class ClassBalance(TypedDict):
    """A class before and after."""

    label: Label
    real: int
    accepted: int
    target: int | None  # requested total of real and synthetic rows; None if none was requested


class UtilityRow(Interval):
    """One arm: the same classifier and seeds on different training data.

    ``classifier`` is embedding, tfidf or bert. ``arm`` is nothing, real_only, class_weights,
    random_oversampling, embedding_smote, embedding_borderline, embedding_adasyn, embedding_kmeans,
    embedding_svm, eda, nearest_centroid, prior_corrected, label_only, shuffled, lam_0,
    synthetic_only, real_and_synthetic, or as_many_as_<control> (real_and_synthetic with only as
    many synthetic texts as a control has).
    ``metric`` is accuracy, macro_f1 or balanced_accuracy. Unknown values are shown as they are.
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
    p: float | None  # two-sided; but for the baseline, adjusted by Holm; None for one seed


class BestControl(TypedDict):
    """The arm with the highest mean that is not SMOTExT's."""

    arm: str
    mean: float


class OverBaseline(TypedDict):
    """real_and_synthetic compared with the one baseline that is named beforehand."""

    classifier: str
    metric: str
    helps: bool | None  # all intervals lie above zero; None if one has no bounds
    own: float
    baseline: float
    over_draws: Interval  # of the training rows
    over_test_rows: Interval | None  # by a bootstrap over them; for macro_f1 alone
    best_control: BestControl


class Verdict(TypedDict):
    """Whether a gain is credited to interpolation: it must significantly beat both controls."""

    classifier: str
    metric: str
    counts: bool
    over_lam_0: Gain
    over_label_only: Gain


class EmptyArm(TypedDict):
    """A decoded control of which no text passed the gate."""

    arm: str
    asked: int


class Utility(TypedDict, total=False):
    """Classifiers trained on the arms, tested on real texts."""

    test_rows: int
    seeds: list[int]
    rows: list[UtilityRow]
    recall: list[Recall]
    tstr_ratio: dict[str, Any]  # nested names to numbers or Intervals
    gains: list[Gain]
    baseline: str  # the arm that over_baseline compares with
    over_baseline: list[OverBaseline]
    verdicts: list[Verdict]  # for classifiers that were trained on both controls
    empty_arms: list[EmptyArm]


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
    labels: str | None  # what is assumed about them
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
    """report.json. A section that is missing, None or empty is shown as not measured."""

    run: RunFacts | None
    classes: list[ClassBalance] | None
    utility: Utility | None
    fidelity: dict[str, Any] | None  # nested names to numbers, Intervals or Spreads
    privacy: Privacy | None
    map: Map | None
    histograms: list[Histogram] | None
    rejections: list[Rejection] | None
    samples: list[Sample] | None
    distillation: Distillation | None
