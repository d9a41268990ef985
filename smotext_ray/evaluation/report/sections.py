"""The report's sections that describe a run and its texts without training anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np

from smotext_ray._version import __version__
from smotext_ray.config.choices import Decided
from smotext_ray.config.stored import config_json
from smotext_ray.evaluation.inputs import EvaluationData
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.safe_text import safe, without_keys
from smotext_ray.utils.text import distinct_part

MAP_POINTS = 4000  # sampled at random if there are more
BINS = 30
LONG_TAIL = 8.0  # times the shortest; lengths with a wider range are shown on a log axis


def run_facts(run: Run, manifest: Manifest, material: EvaluationData, test: str) -> dict[str, Any]:
    """The section ``run``: what was judged, on what, and by which version."""
    models = manifest.models
    status = Counter(sample["status"] for sample in material.samples)
    corpus = set(map(distinct_part, material.real.texts))
    settings = config_json(manifest.effective_config)
    return {
        "uri": run.shown,
        "rows": len(material.real),
        "synthetic": len(material.synthetic),
        "accepted": manifest.usable_texts,
        "rejected": status["rejected"],
        **{name: models[name]["name"] for name in ("encoder", "llm", "bridge")},
        "created": manifest.created,
        "seed": manifest.config.plan.seed,
        "test": safe(without_keys(test)),
        "test_rows": len(material.test),
        "test_texts_in_corpus": sum(distinct_part(text) in corpus for text in material.test.texts),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        # The number of machines says nothing about the texts.
        "settings": {name: section for name, section in settings.items() if name != "resources"},
    }


def classes(manifest: Manifest, material: EvaluationData) -> list[dict[str, Any]]:
    """The section ``classes``: rows of each class before and after."""
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


def embedding_map(material: EvaluationData, show_texts: bool) -> dict[str, Any]:
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
    shares = plane.explained_variance_ratio_
    return {"method": "PCA", "explained": [float(share) for share in shares], "points": points}


def histograms(material: EvaluationData) -> list[dict[str, Any]]:
    """The section ``histograms``: cosines to the target points, and lengths in words."""
    cosine = {
        status: [
            s["cosine"]
            for s in material.samples
            if s["status"] == status and s["cosine"] is not None
        ]
        for status in get_args(Decided)
    }
    words = {
        "real": [len(t.split()) for t in of_classes(material.real, material.synthetic)],
        "synthetic": [len(text.split()) for text in material.synthetic.texts],
    }
    return [
        {
            "name": "cosine to the target point",
            "unit": "",
            "scale": "linear",
            "series": _series(cosine, _linear_edges(cosine)),
        },
        {"name": "length", "unit": "words", **_lengths(words)},
    ]


def _lengths(words: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """On a linear axis, texts of a few words and of a thousand would all be in the first bins."""
    found = [length for lengths in words.values() for length in lengths]
    low, high = max(min(found), 1), max(found) + 1
    if high < LONG_TAIL * low:
        return {"scale": "linear", "series": _series(words, _linear_edges(words))}
    edges = np.unique(np.geomspace(low, high, BINS + 1).round())
    return {"scale": "log", "series": _series(words, edges)}


def _linear_edges(groups: Mapping[str, Sequence[float]]) -> np.ndarray:
    everything = [value for values in groups.values() for value in values]
    return np.asarray(np.histogram_bin_edges(everything, BINS))


def _series(groups: Mapping[str, Sequence[float]], edges: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"name": name, "edges": edges, "counts": np.histogram(values, edges)[0]}
        for name, values in groups.items()
        if values
    ]


def rejections(material: EvaluationData) -> list[dict[str, Any]]:
    """The section ``rejections``: how often the gate rejected for which reason."""
    reasons = Counter(s["reason"] for s in material.samples if s["status"] != "accepted")
    return [{"reason": reason, "count": count} for reason, count in reasons.most_common()]


def of_classes(real: Any, new: Any) -> list[str]:
    """Real texts of the classes that have synthetic ones, for a like-for-like comparison."""
    wanted = set(new.labels)
    return [text for text, label in zip(real.texts, real.labels, strict=True) if label in wanted]
