"""Distillation: students learn a teacher's soft labels from the synthetic texts only.

A student never sees a real text, so its score relative to the teacher's shows how much of the
corpus's information the synthetic texts carry. It is compared with the same student trained on hard
labels: the classes that the texts were generated for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from smotext_ray.evaluation.inputs import EvaluationData
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.statistics import interval
from smotext_ray.evaluation.utility.draws import LEFT_OUT, drawn
from smotext_ray.evaluation.utility.features import tf_idf
from smotext_ray.evaluation.utility.scores import METRICS, Scores, measure, ratios, summarize
from smotext_ray.evaluation.utility.teacher import TeacherLabels

# Probabilities below this are dropped: a copy of the row per class (there may be fifty) would cost
# time for negligible weight.
FAINT = 1e-3

# (train, probabilities of each training row, test, seed) -> a class number for each test row
Student = Callable[[Rows, np.ndarray, Rows, int], np.ndarray]


def soft_labels(taught: TeacherLabels, material: EvaluationData) -> pa.Table:
    """The teacher's probabilities for each accepted sample.

    Returns
    -------
    pyarrow.Table
        ``sample_id`` (int64), ``label`` (string, the class that the text was generated for), and a
        float32 column ``p.<class>`` for each class.
    """
    columns = {
        "sample_id": pa.array(material.sample_ids, pa.int64()),
        "label": pa.array(material.synthetic.labels, pa.string()),
    }
    for column, label in enumerate(taught.classes):
        columns[f"p.{label}"] = pa.array(taught.new[:, column], pa.float32())
    return pa.table(columns)


def distil(
    taught: TeacherLabels,
    material: EvaluationData,
    seeds: Sequence[int],
    students: Mapping[str, Student],
    log: Callable[[str], Any] = print,
) -> dict[str, Any]:
    """Train students on the synthetic texts and compare them with their teacher on the test texts.

    Each seed draws synthetic texts as in `trials.run_trials`; the teacher is the same for all. Its
    probabilities are used at temperature 1: the students' loss is the cross-entropy with them [1]_.

    Parameters
    ----------
    taught : TeacherLabels
    material : EvaluationData
    seeds : sequence of int
    students : mapping of str to Student
        Keys are the names in the report.
    log : callable
        Called with one line per seed.

    Returns
    -------
    dict
        The ``distillation`` section of a report. If some class has no synthetic texts, it only
        has a note that says so, because a student cannot learn a class that it never sees.

    References
    ----------
    .. [1] Hinton, Vinyals, Dean: Distilling the knowledge in a neural network. 2015,
       arXiv:1503.02531.
    """
    section = {"teacher": taught.teacher, "student": "trained on the synthetic texts only"}
    draws = {seed: drawn(material, seed)[1] for seed in seeds}
    lacking = _lacking(material, taught.classes, draws.values())
    if lacking:
        named = ", ".join(lacking[:5]) + (", ..." if lacking[5:] else "")
        note = (
            f"No student was trained: {len(lacking)} of {len(taught.classes)} classes have no "
            f"synthetic texts in at least one draw ({named})."
        )
        return section | {"note": note, "rows": [], "agreement": []}
    codes = np.searchsorted(taught.classes, material.synthetic.labels)
    targets = {"soft": taught.new, "hard": np.eye(len(taught.classes), dtype=np.float32)[codes]}
    guesses: dict[tuple[str, str], list[np.ndarray]] = {}
    for seed, rows in draws.items():
        train = material.synthetic.take(rows)
        for name, student in students.items():
            for kind, wanted in targets.items():
                guess = student(train, wanted[rows], material.test, seed)
                guesses.setdefault((name, kind), []).append(guess)
        log(f"distillation: seed {seed} done")
    return section | {"note": None} | _compared(taught, material, seeds, guesses)


def learn_embedding(train: Rows, targets: np.ndarray, test: Rows, seed: int) -> np.ndarray:
    """Logistic regression on embeddings of length 1, with soft labels."""
    from sklearn.preprocessing import normalize

    x, unseen = normalize(train.embeddings), normalize(test.embeddings)
    return _logistic_regression(x, targets, unseen, seed)


def learn_tfidf(train: Rows, targets: np.ndarray, test: Rows, seed: int) -> np.ndarray:
    """Logistic regression on the TF-IDF of words and word pairs, with soft labels."""
    x, unseen = tf_idf(train, test)
    return _logistic_regression(x, targets, unseen, seed)


STUDENTS: dict[str, Student] = {"embedding": learn_embedding, "tfidf": learn_tfidf}


def _logistic_regression(x: Any, targets: np.ndarray, unseen: Any, seed: int) -> np.ndarray:
    """Multinomial logistic regression with C=10.

    Each row is repeated once per class, weighted by its probability: the sum of those losses is the
    cross-entropy with the probabilities.
    """
    from sklearn.linear_model import LogisticRegression

    rows, codes = np.nonzero(targets > FAINT)
    if len(np.unique(codes)) == 1:  # scikit-learn cannot fit a single class
        return np.full(unseen.shape[0], codes[0])
    model = LogisticRegression(C=10, max_iter=2000, random_state=seed)
    model.fit(x[rows], codes, targets[rows, codes])
    return np.asarray(model.predict(unseen))


def _lacking(material: EvaluationData, classes: list[str], draws: Any) -> list[str]:
    """Classes without synthetic texts in at least one draw."""
    labels = np.asarray(material.synthetic.labels)
    return sorted(set().union(*(set(classes) - set(labels[rows]) for rows in draws)))


def _compared(
    taught: TeacherLabels,
    material: EvaluationData,
    seeds: Sequence[int],
    guesses: Mapping[tuple[str, str], list[np.ndarray]],
) -> dict[str, Any]:
    names, labels = np.asarray(taught.classes), material.test.labels
    of_teacher = taught.test.argmax(axis=1)
    teacher = [measure(labels, names[of_teacher].tolist(), seed) for seed in seeds]
    rows, agreement = [], []
    for (student, kind), found in guesses.items():
        facts = {"student": student, "labels": kind}
        pairs = zip(seeds, found, strict=True)
        scores = [measure(labels, names[guess].tolist(), seed) for seed, guess in pairs]
        rows += [facts | row for row in _rows(scores, teacher)]
        same = interval([float(np.mean(guess == of_teacher)) for guess in found], LEFT_OUT)
        agreement.append(facts | {"share": same.of_share().as_json()})
    return {"rows": rows, "agreement": agreement}


def _rows(student: Sequence[Scores], teacher: Sequence[Scores]) -> list[dict[str, Any]]:
    summary, ratio = summarize(student, LEFT_OUT), ratios(student, teacher, LEFT_OUT)
    return [
        {
            "metric": metric,
            "teacher": getattr(teacher[0], metric),
            "score": getattr(summary, metric).of_share().as_json(),
            "ratio": getattr(ratio, metric).as_json(),
        }
        for metric in METRICS
    ]
