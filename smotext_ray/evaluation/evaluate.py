"""``smotext evaluate``: measure a run's synthetic texts and collect the report.

Top to bottom: the report, then one function per section.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from smotext_ray.config.schema import RunConfig
from smotext_ray.evaluation.controls.decode import NAMES, Control
from smotext_ray.evaluation.fidelity.agreement import (
    FEWEST,
    LabelAgreement,
    label_agreement,
)
from smotext_ray.evaluation.fidelity.by_class import by_class
from smotext_ray.evaluation.fidelity.coverage import DensityCoverage, density_coverage, round_trip
from smotext_ray.evaluation.fidelity.diversity import compare_diversity, distinct_by_class
from smotext_ray.evaluation.fidelity.perplexity import perplexity
from smotext_ray.evaluation.inputs import EvaluationData
from smotext_ray.evaluation.leakage.planting import Canaries
from smotext_ray.evaluation.leakage.section import copy_check
from smotext_ray.evaluation.report.schema import Report
from smotext_ray.evaluation.report.sections import (
    classes,
    embedding_map,
    histograms,
    of_classes,
    rejections,
    run_facts,
)
from smotext_ray.evaluation.report.summary import summary
from smotext_ray.evaluation.rows import Rows
from smotext_ray.evaluation.utility.classifiers import CLASSIFIERS, Classifier
from smotext_ray.evaluation.utility.distillation import STUDENTS, Student, distil
from smotext_ray.evaluation.utility.epsilons import utility_at_epsilons
from smotext_ray.evaluation.utility.fine_tuning import FineTuned
from smotext_ray.evaluation.utility.section import utility_section
from smotext_ray.evaluation.utility.teacher import TeacherLabels
from smotext_ray.evaluation.utility.training_sets import of_real
from smotext_ray.evaluation.utility.trials import available, run_trials
from smotext_ray.models.files import locate_model
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest

READ = 500  # texts the LLM reads from each side, sampled at random if there are more

# Maps texts to (negative log-likelihood in nats, number of tokens) per text.
TokenScores = Callable[[list[str]], list[tuple[float, int]]]


@dataclass(frozen=True)
class Options:
    """What a report holds besides the basic sections, and how its trials are run.

    Attributes
    ----------
    classifiers : sequence of {"embedding", "tfidf", "bert"}
        ``"bert"`` fine-tunes the run's own encoder.
    variants : sequence of {"borderline", "adasyn", "kmeans", "svm"}
        SMOTE variants applied to embeddings, as additional controls.
    decoded : mapping of str to Control
        Controls decoded by the LLM.
    taught : TeacherLabels, optional
        Teacher labels; without them, distillation is skipped.
    token_nll : callable, optional
        Token likelihoods from the LLM; without it, perplexity is skipped.
    canaries : Canaries, optional
        Canaries planted in the corpus.
    compare : sequence of Run
        Runs on the same corpus with other epsilons, for the utility-epsilon plot.
    test : str
        Where the test texts are from, for the report.
    encode_controls : bool
        Whether texts made by controls are encoded, new ones for each seed; otherwise only
        classifiers that read words are trained on them.
    """

    classifiers: Sequence[str] = tuple(CLASSIFIERS)
    variants: Sequence[str] = ()
    decoded: Mapping[str, Control] = field(default_factory=dict)
    taught: TeacherLabels | None = None
    token_nll: TokenScores | None = None
    canaries: Canaries | None = None
    compare: Sequence[Run] = ()
    test: str = ""
    encode_controls: bool = True


def evaluate(
    run: Run,
    config: RunConfig,
    material: EvaluationData,
    seeds: Sequence[int],
    encode: Callable[[list[str]], np.ndarray],
    options: Options = Options(),
    log: Callable[[str], Any] = print,
) -> Report:
    """Measure a run.

    Parameters
    ----------
    run : Run
    config : RunConfig
        The run's settings.
    material : EvaluationData
    seeds : sequence of int
        Seeds for drawing real texts; one repetition each, for the confidence intervals.
    encode : callable
        Maps texts to embeddings with the run's encoder.
    options : Options
    log : callable
        Called with each line of progress.

    Returns
    -------
    Report
    """
    manifest = Manifest.read(run)
    controls = options.decoded
    named = _classifiers(config, options.classifiers, material.real)
    arms = available(options.variants)
    of_controls = encode if options.encode_controls else None
    trials = run_trials(material, seeds, named, of_controls, arms, log=log, decoded=controls)
    privacy = _promise(manifest) | {"rows": copy_check(material, encode, options.canaries)}
    if options.compare:
        runs = [run, *options.compare]
        privacy["utility"] = utility_at_epsilons(runs, material.test, seeds, named, encode)
    distilled = None
    if options.taught is not None:
        students = _students(config, options.classifiers)
        distilled = distil(options.taught, material, seeds, students, log)
    agreement = _agreement(material)
    report = {
        "run": run_facts(run, manifest, material, options.test)
        | {"quick": not controls and options.token_nll is None},
        "classes": classes(manifest, material),
        "utility": utility_section(trials, material.test.labels, seeds, controls),
        "fidelity": _fidelity(material, agreement, controls, _tokens(manifest), options.token_nll),
        "by_class": by_class(material, agreement),
        "privacy": privacy,
        "map": embedding_map(material, show_texts=not manifest.is_private),
        "histograms": histograms(material),
        "rejections": rejections(material),
        "samples": material.samples,
        "distillation": distilled,
    }
    return cast(Report, report | {"summary": summary(report)})


def _promise(manifest: Manifest) -> dict[str, Any]:
    promise = manifest.privacy
    if promise is None:
        return {"epsilon": None}
    names = {
        "epsilon": "epsilon",
        "delta": "delta",
        "sensitivity": "sensitivity",
        "neighbors": "unit",
        "labels": "labels",
        "public_data": "public_data",
        "assumes": "assumes",
    }
    return {name: getattr(promise, key) for name, key in names.items()}


def _classifiers(config: RunConfig, names: Sequence[str], real: Rows) -> dict[str, Classifier]:
    known = dict(CLASSIFIERS)
    if "bert" in names:
        known["bert"] = _bert(config).settled(of_real(real), seed=0)
    return {name: known[name] for name in dict.fromkeys(names)}


def _students(config: RunConfig, names: Sequence[str]) -> dict[str, Student]:
    return STUDENTS | ({"bert": _bert(config).learn} if "bert" in names else {})


def _bert(config: RunConfig) -> FineTuned:
    return FineTuned(locate_model(config.encoder.model).path)


def _agreement(material: EvaluationData) -> LabelAgreement | None:
    """None where no class, or only one, is large enough."""
    real, new = material.real, material.synthetic
    large = {label for label, count in Counter(real.labels).items() if count >= FEWEST}
    if len(large) < 2 or not large & set(new.labels):
        return None
    return label_agreement(
        real.embeddings, real.labels, new.embeddings, new.labels, material.parents
    )


def _fidelity(
    material: EvaluationData,
    agreement: LabelAgreement | None,
    decoded: Mapping[str, Control],
    tokens: int,
    token_nll: TokenScores | None,
) -> dict[str, Any]:
    new = material.synthetic
    compared = of_classes(material.real, new)
    found: dict[str, Any] = {
        "round_trip": round_trip(new.embeddings, material.points).as_json(),
        "density_and_coverage": _manifold(material),
    }
    if min(len(compared), len(new)) > 1:
        found["diversity"] = compare_diversity(compared, new.texts).as_json()
    if agreement is not None:
        found["label_agreement"] = agreement.as_json()
    if token_nll is not None:
        found["perplexity"] = {
            name: perplexity(token_nll(_some(texts))).as_json()
            for name, texts in (("real_texts", compared), ("new_texts", new.texts))
        }
    if decoded:
        own = {"asked": len(material.samples), "accepted": len(new), "tokens": tokens}
        others = {
            name: {"asked": c.asked, "accepted": c.accepted, "tokens": c.tokens}
            for name, c in decoded.items()
            if name in NAMES  # the others are the run's own texts
        }
        found["decoded_texts"] = {"interpolated": own, **others}
        sides = {"real_texts": material.real, "new_texts": new}
        sides |= {name: decoded[name].rows for name in others if len(decoded[name].rows)}
        found["distinct_2_by_class"] = distinct_by_class(
            {name: (rows.texts, rows.labels) for name, rows in sides.items()}
        )
    return found


def _manifold(material: EvaluationData) -> dict[str, Any]:
    """Density and coverage of the test texts; points between real texts are near those anyway."""
    test, new = material.test, material.synthetic
    known = set(test.labels)
    new = new.take([row for row, label in enumerate(new.labels) if label in known])
    if not len(new):
        return DensityCoverage(None, {}, ()).as_json()
    return density_coverage(test.embeddings, test.labels, new.embeddings, new.labels).as_json()


def _tokens(manifest: Manifest) -> int:
    """That the LLM generated for the run."""
    return sum(entry.decode.tokens for entry in manifest.rounds if entry.decode is not None)


def _some(texts: list[str]) -> list[str]:
    """A random sample of at most ``READ`` texts."""
    rows = np.random.default_rng(0).permutation(len(texts))[:READ]
    return [texts[row] for row in np.sort(rows)]
