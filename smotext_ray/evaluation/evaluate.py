"""``smotext evaluate``: measure a run's synthetic texts and collect the report.

Top to bottom: the report, then one function per section.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import numpy as np

from smotext_ray.config.choices import Decided
from smotext_ray.config.schema import RunConfig
from smotext_ray.evaluation.controls.decode import Control
from smotext_ray.evaluation.fidelity.agreement import FEWEST, label_agreement
from smotext_ray.evaluation.fidelity.coverage import density_coverage, round_trip
from smotext_ray.evaluation.fidelity.diversity import compare_diversity
from smotext_ray.evaluation.fidelity.perplexity import perplexity
from smotext_ray.evaluation.inputs import EvaluationData
from smotext_ray.evaluation.leakage.planting import Canaries
from smotext_ray.evaluation.leakage.section import copy_check
from smotext_ray.evaluation.report.schema import Report
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

MAP_POINTS = 4000  # sampled at random if there are more
READ = 500  # texts the LLM reads from each side, sampled at random if there are more
BINS = 30

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
    """

    classifiers: Sequence[str] = tuple(CLASSIFIERS)
    variants: Sequence[str] = ()
    decoded: Mapping[str, Control] = field(default_factory=dict)
    taught: TeacherLabels | None = None
    token_nll: TokenScores | None = None
    canaries: Canaries | None = None
    compare: Sequence[Run] = ()


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
    trials = run_trials(material, seeds, named, encode, arms, log=log, decoded=controls)
    privacy = _promise(manifest) | {"rows": copy_check(material, encode, options.canaries)}
    if options.compare:
        runs = [run, *options.compare]
        privacy["utility"] = utility_at_epsilons(runs, material.test, seeds, named, encode)
    distilled = None
    if options.taught is not None:
        students = _students(config, options.classifiers)
        distilled = distil(options.taught, material, seeds, students, log)
    report = {
        "run": _run_facts(run, manifest, config, material),
        "classes": _classes(manifest, material),
        "utility": utility_section(trials, material.test.labels, seeds, controls),
        "fidelity": _fidelity(material, controls, options.token_nll),
        "privacy": privacy,
        "map": _map(material, show_texts=not manifest.is_private),
        "histograms": _histograms(material),
        "rejections": _rejections(material),
        "samples": material.samples,
        "distillation": distilled,
    }
    return cast(Report, report)


def _promise(manifest: Manifest) -> dict[str, Any]:
    promise = manifest.privacy
    if promise is None:
        return {"epsilon": None}
    names = {
        "epsilon": "epsilon",
        "delta": "delta",
        "sensitivity": "sensitivity",
        "labels": "assumes",
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


def _run_facts(
    run: Run, manifest: Manifest, config: RunConfig, material: EvaluationData
) -> dict[str, Any]:
    models = manifest.models
    status = Counter(sample["status"] for sample in material.samples)
    return {
        "uri": run.uri,
        "rows": len(material.real),
        "accepted": status["accepted"],
        "rejected": status["rejected"],
        **{name: models[name]["name"] for name in ("encoder", "llm", "bridge")},
        "created": manifest.created,
        "seed": config.plan.seed,
    }


def _classes(manifest: Manifest, material: EvaluationData) -> list[dict[str, Any]]:
    real, new = Counter(material.real.labels), Counter(material.synthetic.labels)
    wanted = {str(label): number for label, number in (manifest.targets or {}).items()}
    return [
        {
            "label": label,
            "real": real[label],
            "accepted": new[label],
            "target": real[label] + wanted[label] if label in wanted else None,
        }
        for label in sorted(real)
    ]


def _fidelity(
    material: EvaluationData, decoded: Mapping[str, Control], token_nll: TokenScores | None
) -> dict[str, Any]:
    real, new = material.real, material.synthetic
    x, labels = real.embeddings, real.labels
    compared = _of_classes(real, new)
    found: dict[str, Any] = {
        "round_trip": round_trip(new.embeddings, material.points).as_json(),
        "density_and_coverage": density_coverage(x, labels, new.embeddings, new.labels).as_json(),
        "diversity": compare_diversity(compared, new.texts).as_json(),
    }
    large = {label for label, count in Counter(labels).items() if count >= FEWEST}
    if len(large) > 1 and large & set(new.labels):
        agreement = label_agreement(x, labels, new.embeddings, new.labels, material.parents)
        found["label_agreement"] = agreement.as_json()
    if token_nll is not None:
        found["perplexity"] = {
            name: perplexity(token_nll(_some(texts))).as_json()
            for name, texts in (("real_texts", compared), ("new_texts", new.texts))
        }
    if decoded:
        own = {"asked": len(material.samples), "accepted": len(new)}
        others = {
            name: {"asked": control.asked, "accepted": control.accepted}
            for name, control in decoded.items()
        }
        found["decoded_texts"] = {"interpolated": own, **others}
    return found


def _some(texts: list[str]) -> list[str]:
    """A random sample of at most ``READ`` texts."""
    rows = np.random.default_rng(0).permutation(len(texts))[:READ]
    return [texts[row] for row in np.sort(rows)]


def _of_classes(real: Any, new: Any) -> list[str]:
    """Real texts of the classes that have synthetic ones, for a like-for-like comparison."""
    wanted = set(new.labels)
    return [text for text, label in zip(real.texts, real.labels, strict=True) if label in wanted]


def _map(material: EvaluationData, show_texts: bool) -> dict[str, Any]:
    """Real and synthetic texts on the first two principal components of the real ones."""
    from sklearn.decomposition import PCA

    real, new = material.real, material.synthetic
    rng = np.random.default_rng(0)
    some = np.sort(rng.permutation(len(real))[:MAP_POINTS])
    plane = PCA(2, random_state=0).fit(real.embeddings)
    points = [
        {"x": x, "y": y, "label": real.labels[row], "kind": "real", "id": None,
         "text": real.texts[row][:200] if show_texts else None}
        for row, (x, y) in zip(some, plane.transform(real.embeddings[some]), strict=True)
    ]  # fmt: skip
    points += [
        {"x": x, "y": y, "label": label, "kind": "synthetic", "id": id_, "text": text[:200]}
        for (x, y), label, id_, text in zip(
            plane.transform(new.embeddings), new.labels, material.sample_ids, new.texts, strict=True
        )
    ]
    return {"method": "PCA", "points": points}


def _histograms(material: EvaluationData) -> list[dict[str, Any]]:
    cosine = {
        status: [
            s["cosine"]
            for s in material.samples
            if s["status"] == status and s["cosine"] is not None
        ]
        for status in get_args(Decided)
    }
    words = {
        "real": [len(t.split()) for t in _of_classes(material.real, material.synthetic)],
        "new": [len(text.split()) for text in material.synthetic.texts],
    }
    return [
        {"name": "cosine to the point", "unit": "", "series": _series(cosine)},
        {"name": "length", "unit": "words", "series": _series(words)},
    ]


def _series(groups: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    everything = [value for values in groups.values() for value in values]
    edges = np.histogram_bin_edges(everything, BINS)
    return [
        {"name": name, "edges": edges, "counts": np.histogram(values, edges)[0]}
        for name, values in groups.items()
        if values
    ]


def _rejections(material: EvaluationData) -> list[dict[str, Any]]:
    reasons = Counter(s["reason"] for s in material.samples if s["status"] != "accepted")
    return [{"reason": reason, "count": count} for reason, count in reasons.most_common()]
