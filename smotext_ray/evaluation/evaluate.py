"""``smotext evaluate``: what the new texts of a run are worth, on one page.

Read it top to bottom: the report, then one function a section.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from smotext_ray.bridge.files import whole_file
from smotext_ray.config import RunConfig
from smotext_ray.evaluation.agreement import FEWEST, label_agreement
from smotext_ray.evaluation.diversity import compare_diversity
from smotext_ray.evaluation.fidelity import density_coverage, round_trip
from smotext_ray.evaluation.material import Material
from smotext_ray.evaluation.membership import membership_inference
from smotext_ray.evaluation.nearness import Records
from smotext_ray.evaluation.privacy import copies, distances
from smotext_ray.evaluation.report import Report, plain, write_report
from smotext_ray.evaluation.trials import run_trials, utility_section
from smotext_ray.run import Run

MAP_POINTS = 4000  # drawn by lot where there are more
BINS = 30


def evaluate(
    run: Run,
    config: RunConfig,
    material: Material,
    seeds: Sequence[int],
    encode: Callable[[list[str]], np.ndarray],
    log: Callable[[str], Any] = print,
) -> Report:
    """Measure a run.

    Parameters
    ----------
    run : Run
    config : RunConfig
        The run's.
    material : Material
    seeds : sequence of int
        Draws of the real texts, for the intervals of the utility.
    encode : callable
        Texts to embeddings, as the run's encoder makes them.
    log : callable
        Takes a line of progress.

    Returns
    -------
    Report
        What needs the LLM (a label-only and a shuffled control, perplexity) is not in it.
    """
    trials = run_trials(material, seeds, ("embedding", "tfidf"), encode, log=log)
    report = {
        "run": _run_facts(run, config, material),
        "classes": _classes(run, material),
        "utility": utility_section(trials, len(material.test), seeds),
        "fidelity": _fidelity(material),
        "privacy": _copy_check(material),
        "map": _map(material),
        "histograms": _histograms(material),
        "rejections": _rejections(material),
        "samples": material.samples,
    }
    return cast(Report, report)


def write(report: Report, output: Path) -> None:
    """Write ``report.json`` and ``report.html`` into a directory, which is made."""
    output.mkdir(parents=True, exist_ok=True)
    with whole_file(output / "report.json") as handle:
        text = json.dumps(plain(dict(report)), allow_nan=False, default=str, indent=1)
        handle.write(text.encode("utf-8", "replace"))
    write_report(report, output / "report.html")


def _run_facts(run: Run, config: RunConfig, material: Material) -> dict[str, Any]:
    models = run.manifest["models"]
    status = Counter(sample["status"] for sample in material.samples)
    return {
        "uri": run.uri,
        "rows": len(material.real),
        "accepted": status["accepted"],
        "rejected": status["rejected"],
        **{name: models[name]["name"] for name in ("encoder", "llm", "bridge")},
        "created": run.manifest["created"],
        "seed": config.plan.seed,
    }


def _classes(run: Run, material: Material) -> list[dict[str, Any]]:
    real, new = Counter(material.real.labels), Counter(material.synthetic.labels)
    wanted = {str(label): number for label, number in run.manifest["targets"]}
    return [
        {
            "label": label,
            "real": real[label],
            "accepted": new[label],
            "target": real[label] + wanted[label] if label in wanted else None,
        }
        for label in sorted(real)
    ]


def _fidelity(material: Material) -> dict[str, Any]:
    real, new = material.real, material.synthetic
    x, labels = real.embeddings, real.labels
    found: dict[str, Any] = {
        "round_trip": round_trip(new.embeddings, material.points).as_json(),
        "density_and_coverage": density_coverage(x, labels, new.embeddings, new.labels).as_json(),
        "diversity": compare_diversity(_of_classes(real, new), new.texts).as_json(),
    }
    large = {label for label, count in Counter(labels).items() if count >= FEWEST}
    if len(large) > 1 and large & set(new.labels):
        agreement = label_agreement(x, labels, new.embeddings, new.labels, material.parents)
        found["label_agreement"] = agreement.as_json()
    return found


def _of_classes(real: Any, new: Any) -> list[str]:
    """The real texts of the classes that have new ones, which is what those compare to."""
    wanted = set(new.labels)
    return [text for text, label in zip(real.texts, real.labels, strict=True) if label in wanted]


def _copy_check(material: Material) -> dict[str, Any]:
    real, new, test = material.real, material.synthetic, material.test
    parents = [[real.texts[row] for row in rows] for rows in material.parents]
    found = copies(new.texts, parents, real.texts)
    rows = [
        _line("verbatim copies", found.verbatim_share, "share equal to a real text"),
        _line("near copies", found.near_any_share, "share four fifths of the word 3-grams"),
        _line("longest shared run, mean", found.longest_run.mean, "words in a row of a parent"),
        _line("longest shared run, most", found.longest_run.max, "words in a row of a parent"),
    ]
    members, others = _members_and_others(material)
    if len(members) > 1:
        near = distances(real.embeddings[members], test.embeddings[others], new.embeddings)
        attack = membership_inference(
            Records([real.texts[i] for i in members], real.embeddings[members]),
            Records([test.texts[i] for i in others], test.embeddings[others]),
            Records(new.texts, new.embeddings),
        )
        rows += [
            _line("nearer to the corpus than to the test texts", near.nearer_to_training,
                  "share of the new texts; 0.5 is chance"),
            *(
                _line(f"membership attack by {name}, AUC",
                      {"mean": a.auc, "low": a.auc_low, "high": a.auc_high}, "0.5 is guessing")
                for name, a in attack.attacks.items()
            ),
        ]  # fmt: skip
    return {"epsilon": None, "rows": rows}


def _members_and_others(material: Material) -> tuple[np.ndarray, np.ndarray]:
    """As many corpus as test texts of each class that has new texts, drawn by lot."""
    rng = np.random.default_rng(0)
    real, test = np.asarray(material.real.labels), np.asarray(material.test.labels)
    members, others = [], []
    for label in sorted(set(material.synthetic.labels)):
        inside, outside = np.flatnonzero(real == label), np.flatnonzero(test == label)
        size = min(len(inside), len(outside))
        members.append(rng.permutation(inside)[:size])
        others.append(rng.permutation(outside)[:size])
    return np.concatenate(members), np.concatenate(others)


def _line(name: str, value: Any, note: str) -> dict[str, Any]:
    return {"name": name, "value": value, "note": note}


def _map(material: Material) -> dict[str, Any]:
    """Real and new texts in the plane of the real ones' two largest variances."""
    from sklearn.decomposition import PCA

    real, new = material.real, material.synthetic
    rng = np.random.default_rng(0)
    some = np.sort(rng.permutation(len(real))[:MAP_POINTS])
    plane = PCA(2, random_state=0).fit(real.embeddings)
    points = [
        {"x": x, "y": y, "label": real.labels[row], "kind": "real", "id": None,
         "text": real.texts[row][:200]}
        for row, (x, y) in zip(some, plane.transform(real.embeddings[some]), strict=True)
    ]  # fmt: skip
    points += [
        {"x": x, "y": y, "label": label, "kind": "synthetic", "id": id_, "text": text[:200]}
        for (x, y), label, id_, text in zip(
            plane.transform(new.embeddings), new.labels, material.sample_ids, new.texts, strict=True
        )
    ]
    return {"method": "PCA", "points": points}


def _histograms(material: Material) -> list[dict[str, Any]]:
    cosine = {
        status: [
            s["cosine"]
            for s in material.samples
            if s["status"] == status and s["cosine"] is not None
        ]
        for status in ("accepted", "rejected")
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


def _rejections(material: Material) -> list[dict[str, Any]]:
    reasons = Counter(s["reason"] for s in material.samples if s["status"] != "accepted")
    return [{"reason": reason, "count": count} for reason, count in reasons.most_common()]
