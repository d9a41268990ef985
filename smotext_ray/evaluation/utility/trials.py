"""Classifiers trained on real texts, on synthetic ones, on both, and on the controls.

Each seed leaves out a tenth of the real texts of each class, and the synthetic texts with a
left-out parent. Every arm that adds rows adds as many to each class as SMOTExT does. Decoded
controls add at most that many, limited by what passed the gate; synthetic texts cut to the same
numbers are then an arm of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from smotext_ray.errors import UserError
from smotext_ray.evaluation.controls.decode import Control, first_of_classes
from smotext_ray.evaluation.inputs import EvaluationData
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility.arms import ARMS, VARIANT_ARMS, Arm
from smotext_ray.evaluation.utility.classifiers import (
    Classifier,
    baselines,
    baselines_of_both,
    score,
    with_embeddings,
)
from smotext_ray.evaluation.utility.contrastive import Contrastive
from smotext_ray.evaluation.utility.draws import Made, draw, draw_decoded
from smotext_ray.evaluation.utility.eda import wordnet
from smotext_ray.evaluation.utility.fine_tuning import FineTuned
from smotext_ray.evaluation.utility.scores import Scores
from smotext_ray.evaluation.utility.training_sets import TrainingSet, of_real
from smotext_ray.evaluation.utility.tuned import Tuned
from smotext_ray.evaluation.utility.weighting import weighted_by_class
from smotext_ray.utils.cpu import usable_cores

OWN, SYNTHETIC, REAL = "real_and_synthetic", "synthetic_only", "nothing"
WEIGHTED = "weighted_by_class"
AS_MANY_AS = "as_many_as_"  # prefix of a control's name: synthetic texts, as many as in the control
ROWS_FOR_ALL_CORES = 20_000  # in all arms together; fewer are done before processes have started
MOST_PROCESSES = 8  # each has a copy of the rows
Trials = dict[tuple[str, str], list[Scores]]  # (classifier, arm) -> one score per seed


def run_trials(
    material: EvaluationData,
    seeds: Sequence[int],
    classifiers: Mapping[str, Classifier],
    encode: Callable[[list[str]], np.ndarray] | None,
    controls: dict[str, Arm] | None = None,
    log: Callable[[str], Any] = print,
    decoded: Mapping[str, Control] | None = None,
) -> Trials:
    """Score every arm with every classifier and seed.

    The settings of a classifier are chosen for each arm on the training rows of its first draw.

    Parameters
    ----------
    material : EvaluationData
    seeds : sequence of int
    classifiers : mapping of str to Classifier
        Keys are the names in the report; only ``embedding`` reads embeddings.
    encode : callable or None
        Encodes texts created by controls; without it, ``embedding`` leaves those controls out.
    controls : dict of str to Arm, optional
        Default: all controls that need no LLM.
    log : callable
        Called with one line per seed.
    decoded : mapping of str to Control, optional
        Controls decoded by the LLM; those without texts are left out.

    Returns
    -------
    Trials
        Without arms that are missing in some draws.
    """
    found: Trials = {}
    settled: dict[tuple[str, str], Classifier] = {}
    some = {name: control for name, control in (decoded or {}).items() if len(control.rows)}
    short = {name for seed in seeds for name in _short(material, seed, some)}
    for seed in seeds:
        real, synthetic = draw(material, seed)
        left = draw_decoded(material, seed, some)
        arms = training_sets(real, synthetic, seed, controls or available(), left, short)
        scores = score_arms(arms, material.test, seed, classifiers, encode, settled)
        for key, measured in scores.items():
            found.setdefault(key, []).append(measured)
        log(f"utility: seed {seed} done")
    return {key: scores for key, scores in found.items() if len(scores) == len(seeds)}


def score_arms(
    arms: Mapping[str, TrainingSet],
    test: Rows,
    seed: int,
    classifiers: Mapping[str, Classifier],
    encode: Callable[[list[str]], np.ndarray] | None,
    settled: dict[tuple[str, str], Classifier] | None = None,
) -> dict[tuple[str, str], Scores]:
    """Score each classifier on each arm that it can read; keyed by (classifier, arm).

    Parameters
    ----------
    arms : mapping of str to TrainingSet
        As returned by `training_sets`.
    test : Rows
    seed : int
    classifiers, encode
        As in `run_trials`.
    settled : dict, optional
        Classifiers with chosen settings, keyed by (classifier, arm); missing ones are added.
    """
    chosen = {} if settled is None else settled
    tasks = {}
    for name, arm, training, classifier in _pairs(arms, classifiers):
        ready = training
        if name == "embedding" and not training.rows.has_embedding:
            if encode is None:
                continue
            ready = with_embeddings(training, encode)
        tasks[name, arm] = ready, test, chosen.get((name, arm), classifier), seed
    found = {}
    for key, (classifier, scores) in zip(tasks, _side_by_side(list(tasks.values())), strict=True):
        chosen[key], found[key] = classifier, scores
    return found


Task = tuple[TrainingSet, Rows, Classifier, int]


def _side_by_side(tasks: Sequence[Task]) -> list[tuple[Classifier, Scores]]:
    """`_settle_and_score` for each task, on all cores if there are enough rows."""
    from sklearn.utils.parallel import Parallel, delayed

    trained = [isinstance(classifier, (FineTuned, Contrastive)) for _, _, classifier, _ in tasks]
    many = sum(len(training) for training, *_ in tasks) >= ROWS_FOR_ALL_CORES
    if not many or any(trained):  # classifiers trained by torch use all cores themselves
        return [_settle_and_score(*task) for task in tasks]
    # In processes, because most of the time is spent under Python's lock.
    run = Parallel(n_jobs=min(usable_cores(), len(tasks), MOST_PROCESSES))
    return list(run(delayed(_settle_and_score)(*task) for task in tasks))


def _settle_and_score(
    training: TrainingSet, test: Rows, classifier: Classifier, seed: int
) -> tuple[Classifier, Scores]:
    if isinstance(classifier, Tuned):
        classifier = classifier.settled(training, seed)  # immediate if only one setting is left
    return classifier, score(training, test, classifier, seed)


def _pairs(
    arms: Mapping[str, TrainingSet], classifiers: Mapping[str, Classifier]
) -> list[tuple[str, str, TrainingSet, Classifier]]:
    """Tuples of classifier name, arm, the arm's rows, and the classifier fitted to them."""
    found = []
    for arm, training in arms.items():
        for name, classifier in classifiers.items():
            if name == "embedding" or training.rows.has_text:  # SMOTE's points have no text
                found.append((name, arm, training, classifier))
    if REAL in arms:
        for name, classifier in classifiers.items():
            for arm, baseline in baselines(name, classifier).items():
                found.append((name, arm, arms[REAL], baseline))
    if OWN in arms:
        for name, classifier in classifiers.items():
            for arm, baseline in baselines_of_both(name, classifier).items():
                found.append((name, arm, arms[OWN], baseline))
    return found


def available(variants: Sequence[str] = ()) -> dict[str, Arm]:
    """The available controls; EDA runs without synonyms if the package with them is missing.

    Parameters
    ----------
    variants : sequence of {"borderline", "adasyn", "kmeans", "svm"}
        SMOTE variants on embeddings; their arms are called ``embedding_<variant>``.
    """
    left_out = "eda_without_synonyms"
    try:
        wordnet()
    except UserError:
        left_out = "eda"
    arms = {name: arm for name, arm in ARMS.items() if name != left_out}
    return arms | {f"embedding_{name}": VARIANT_ARMS[name] for name in variants}


def training_sets(
    real: Rows,
    synthetic: Made,
    seed: int,
    controls: Mapping[str, Arm],
    decoded: Mapping[str, Made] | None = None,
    short: Collection[str] = (),
) -> dict[str, TrainingSet]:
    """What each arm is trained on.

    A decoded control adds at most as many rows to each class as there are synthetic texts of it;
    if it adds fewer, here or in another draw (``short``), ``as_many_as_<control>`` has that many
    synthetic texts.
    ``weighted_by_class`` has all of SMOTExT's rows, with less weight on synthetic ones. Synthetic
    texts alone are an arm only if every class has some.
    """
    counts, new = Counter(real.labels), Counter(synthetic.rows.labels)
    targets = {label: counts[label] + added for label, added in new.items()}
    sets = {name: arm(real, targets, seed) for name, arm in controls.items()}
    for name, control in (decoded or {}).items():
        sets[name] = _with_first(real, control, new)
        if name in short or _adds_fewer(control, synthetic):
            sets[AS_MANY_AS + name] = _with_first(real, synthetic, Counter(control.rows.labels))
    sets[OWN] = of_real(real).joined(synthetic.rows, synthetic.origins)
    sets[WEIGHTED] = weighted_by_class(sets[OWN])
    if new.keys() == counts.keys() and synthetic.origins is not None:
        # Texts of a release have no parents: each is its own origin.
        of_none = not synthetic.origins.shape[1]
        origins = np.arange(len(synthetic.rows))[:, None] if of_none else synthetic.origins
        sets[SYNTHETIC] = TrainingSet(synthetic.rows, origins, real=0)
    return sets


def _short(material: EvaluationData, seed: int, decoded: Mapping[str, Control]) -> list[str]:
    """The controls that add fewer texts than SMOTExT in this draw."""
    _, synthetic = draw(material, seed)
    left = draw_decoded(material, seed, decoded)
    return [name for name, control in left.items() if _adds_fewer(control, synthetic)]


def _adds_fewer(control: Made, synthetic: Made) -> bool:
    return not Counter(synthetic.rows.labels) <= Counter(control.rows.labels)


def _with_first(real: Rows, made: Made, most: Mapping[str, int]) -> TrainingSet:
    """Real rows, and the first generated ones of each class."""
    part = np.asarray(first_of_classes(made.rows.labels, most), np.int64)
    origins = None if made.origins is None else made.origins[part]
    return of_real(real).joined(made.rows.take(part), origins)
