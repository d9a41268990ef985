"""The report's content: one class a section."""

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
    target: int | None  # rows in all, real and new, that were asked for; None for none


class UtilityRow(Interval):
    """One arm: the same classifier and seeds, trained on other data.

    ``classifier`` is embedding, tfidf or bert. ``arm`` is nothing, real_only, class_weights,
    random_oversampling, embedding_smote, embedding_borderline, embedding_adasyn,
    embedding_kmeans, embedding_svm, eda, label_only, shuffled, lam_0, synthetic_only or
    real_and_synthetic. ``metric`` is accuracy, macro_f1 or balanced_accuracy. Others are
    shown under their own names.
    """

    classifier: str
    arm: str
    metric: str
    values: list[float]  # one a seed


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


class Verdict(TypedDict):
    """Whether the gain of real_and_synthetic counts as the interpolation's."""

    classifier: str
    metric: str
    counts: bool  # both intervals lie above zero
    over_shuffled: Interval
    over_label_only: Interval


class Utility(TypedDict, total=False):
    """Classifiers trained on the arms, tested on real texts."""

    test_rows: int
    seeds: list[int]
    rows: list[UtilityRow]
    recall: list[Recall]
    tstr_ratio: dict[str, Any]  # nested names to numbers or Intervals
    gains: list[Gain]
    verdicts: list[Verdict]  # of the classifiers that were trained on both controls


class Check(TypedDict):
    """A line of the copy check."""

    name: str
    value: float | str | Interval | None
    note: str


class UtilityAtEpsilon(Interval):
    """A point of the plot of utility against epsilon; epsilon None is without noise."""

    epsilon: float | None
    classifier: str
    metric: str


class Privacy(TypedDict, total=False):
    """Copies and attacks; with an epsilon also what it promises."""

    epsilon: float | None
    delta: float | None
    sensitivity: float | None
    labels: str | None  # what is assumed of them
    rows: list[Check]
    utility: list[UtilityAtEpsilon]


class MapPoint(TypedDict, total=False):
    """A text on the map."""

    x: float
    y: float
    label: Label
    kind: str  # real or synthetic
    id: Any  # of a synthetic one its sample_id
    text: str | None  # may be left out where samples holds it


class Map(TypedDict):
    """Embeddings in the plane."""

    method: str
    points: list[MapPoint]


class Series(TypedDict):
    """A group of a histogram; there is one edge more than counts."""

    name: str
    edges: list[float]
    counts: list[int]


class Histogram(TypedDict):
    """Up to four groups over one axis."""

    name: str
    unit: str
    series: list[Series]


class Rejection(TypedDict):
    """How often the gate gave a reason."""

    reason: str
    count: int


class Sample(TypedDict):
    """A new text and where it comes from."""

    sample_id: int
    label: Label
    status: str  # accepted, rejected or error
    reason: str | None
    text: str | None
    source_text: str | None  # None where it is not to be shown
    neighbor_text: str | None
    lam: float
    cosine: float | None  # to the point
    round: int


class Learned(TypedDict):
    """A student against its teacher; ``student`` is embedding, tfidf or bert."""

    student: str
    labels: str  # soft, the teacher's; or hard, what the texts were made for
    metric: str
    teacher: float  # the same in every draw
    score: Interval
    ratio: Interval  # of student to teacher


class Agreed(TypedDict):
    """How often a student gives a test text its teacher's class."""

    student: str
    labels: str
    share: Interval


class Distillation(TypedDict, total=False):
    """Students that learned from the new texts alone, against their teacher."""

    teacher: str
    student: str
    note: str | None  # why there is no student
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
