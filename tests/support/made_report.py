"""A made-up report of the shape that ``evaluate`` writes: Reuters R8, nothing of it measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from smotext_ray.evaluation.report.summary import summary

CLASSES = {  # label: rows before, words of its texts
    "earn": (2840, "shr cts net profit revs qtr dividend loss avg dlrs year record"),
    "acq": (1596, "shares stake offer merger company acquire tender board bid unit holders"),
    "crude": (253, "oil barrels opec crude prices output bpd refinery petroleum field energy"),
    "trade": (251, "trade deficit tariffs exports imports surplus gatt washington japan talks"),
    "money-fx": (206, "dollar yen bank currency intervention rates dealers paris accord mark"),
    "interest": (190, "rate prime discount bank fed repurchase money market cut points lending"),
    "ship": (108, "vessel port strike cargo shipping tonnes gulf seamen tanker dock canal"),
    "grain": (41, "wheat tonnes corn usda maize crop harvest export shipment bushels barley"),
}
TARGET = 160
ARMS = {  # macro-F1 of the two classifiers
    "nothing": (0.758, 0.742),
    "class_weights": (0.844, 0.801),
    "random_oversampling": (0.846, 0.796),
    "embedding_smote": (0.845, None),
    "eda": (0.839, 0.812),
    "label_only": (0.836, 0.823),
    "shuffled": (0.841, 0.827),
    "lam_0": (0.851, 0.838),
    "synthetic_only": (0.801, 0.786),
    "real_and_synthetic": (0.868, 0.851),
}
SEEDS = [0, 1, 2, 3, 4]
HARDER = {"accuracy": 0.09, "macro_f1": 0.0, "balanced_accuracy": 0.012}
REASONS = {"wrong_class": 61, "low_similarity": 38, "repetitive": 14, "copy_of_parent": 9}
STATUSES = ["accepted"] * 7 + ["rejected"] * 2
JOINTS = ["said the", "in a", "of the", "for the", "after a", "to raise", "on the", "expects"]


def made_report(samples: int = 240) -> dict[str, Any]:
    """Every section filled; the same on every call."""
    rng = np.random.default_rng(7)
    made = _samples(rng, samples)
    report = {
        "run": {
            "uri": "s3://corpora/reuters/r8-balanced",
            "rows": 5485,
            "synthetic": 171,
            "accepted": 173,
            "rejected": sum(REASONS.values()),
            "encoder": "all-MiniLM-L6-v2",
            "llm": "SmolLM2-135M-Instruct",
            "bridge": "default (384 to 576, 4 tokens)",
            "created": "2025-11-21T13:46:00Z",
            "seed": 7,
            "test": "s3://corpora/reuters/r8-test.parquet",
            "test_rows": 2189,
            "test_texts_in_corpus": 4,
            "measured": "2025-11-22T09:10:11+00:00",
            "version": "0.1.0",
            "quick": False,
            "settings": {
                "plan": {"sampling_strategy": {"grain": 160, "ship": 160}, "alpha": 1.0},
                "gate": {"min_cosine": 0.35, "same_class": True},
            },
        },
        "classes": [
            {"label": label, "real": real, "accepted": max(0, TARGET - real), "target": TARGET}
            if real < TARGET
            else {"label": label, "real": real, "accepted": 0, "target": None}
            for label, (real, _) in CLASSES.items()
        ],
        "utility": _utility(rng),
        "fidelity": {
            "round_trip": {"cosine": _spread(0.79), "to_other_points": 0.131},
            "label_agreement": {
                "synthetic": 171,
                "agreement": 0.943,
                "ceiling": 0.951,
                "accuracy": 0.962,
                "label_issues": 0.029,
                "real_label_issues": 0.017,
                "classes": [{"label": "grain", "real": 41, "agreement": 0.95}],
                "left_out": [],
            },
            "density_and_coverage": {
                "overall": {"density": 0.93, "coverage": 0.62, "expected_coverage": 0.68},
                "classes": [{"label": "grain", "density": 0.9}],
                "left_out": [],
            },
            "diversity": {
                side: {
                    "texts": 171,
                    "distinct_1": distinct,
                    "distinct_2": 2.4 * distinct,
                    "self_bleu": 100 * (0.4 - distinct),
                    "length": _spread(median),
                }
                for side, distinct, median in (("real", 0.231, 96.0), ("synthetic", 0.214, 84.0))
            },
            "another_measure": {
                "score": 0.93,
                "of_classes": [{"label": "grain", "score": 0.9}, {"label": "ship", "score": 1}],
            },
            "perplexity": {
                "real_texts": {"corpus": 118.4, "texts": _spread(121.0), "tokens": 41_210},
                "new_texts": {"corpus": 41.7, "texts": _spread(44.2), "tokens": 9_876},
            },
            "decoded_texts": {
                "interpolated": {"asked": 293, "accepted": 171},
                "shuffled": {"asked": 293, "accepted": 158},
            },
            "mauve": None,
        },
        "by_class": [
            {
                "label": label,
                "real": CLASSES[label][0],
                "synthetic": TARGET - CLASSES[label][0],
                "test": test,
                "real_words": 101.0,
                "synthetic_words": 84.0,
                "accuracy": 0.93,
                "agreement": agreement,
                "to_point": 0.71,
                "real_to_nearest": 0.68,
                "synthetic_to_nearest": 0.63,
            }
            for label, test, agreement in (("grain", 10, 0.97), ("ship", 36, 0.71))
        ],
        "privacy": _privacy(),
        "map": _map(rng, made),
        "histograms": _histograms(rng),
        "rejections": [{"reason": name, "count": count} for name, count in REASONS.items()],
        "samples": made,
        "distillation": {
            "teacher": "logistic regression on embeddings",
            "student": "trained on the synthetic texts only",
            "note": None,
            "rows": [
                {
                    "student": "tfidf",
                    "labels": labels,
                    "metric": "macro_f1",
                    "teacher": 0.868,
                    "score": _around(score, 0.01),
                    "ratio": _around(score / 0.868, 0.01),
                }
                for labels, score in (("soft", 0.834), ("hard", 0.811))
            ],
            "agreement": [{"student": "tfidf", "labels": "soft", "share": _around(0.947, 0.01)}],
        },
    }
    return report | {"summary": summary(report)}


def noised(report: dict[str, Any], epsilon: float = 8.0) -> dict[str, Any]:
    """The same of a run with noise: no parent texts."""
    hidden = {"source_text": None, "neighbor_text": None}
    utility = [
        {"epsilon": at, "classifier": "embedding", "metric": "macro_f1", **_around(mean, 0.02)}
        for at, mean in [(1.0, 0.41), (4.0, 0.63), (8.0, 0.71), (None, 0.868)]
    ]
    privacy = {
        **report["privacy"],
        "epsilon": epsilon,
        "delta": 1e-5,
        "sensitivity": 2.0,
        "neighbors": "one record, text and label",
        "labels": "protected like texts",
        "public_data": "the models",
        "assumes": "a person is in one record only",
        "utility": utility,
    }
    return {
        **report,
        "privacy": privacy,
        "samples": [{**sample, **hidden} for sample in report["samples"]],
    }


def _around(mean: float, width: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - width, "high": mean + width}


def _interval(values: np.ndarray) -> dict[str, float]:
    return _around(float(values.mean()), 2.776 * float(values.std(ddof=1)) / len(values) ** 0.5)


def _spread(median: float) -> dict[str, float]:
    at = {"q05": -0.14, "q25": -0.05, "median": 0.0, "q75": 0.05, "q95": 0.1, "max": 0.15}
    return {"count": 171, "mean": median - 0.01, **{k: median + v for k, v in at.items()}}


def _utility(rng: np.random.Generator) -> dict[str, Any]:
    rows, scores = [], {}
    luck = rng.normal(0, 0.006, len(SEEDS))  # a seed is easy or hard for all arms alike
    for column, classifier in enumerate(["embedding", "tfidf"]):
        for arm, means in ARMS.items():
            for metric, gift in HARDER.items():
                if means[column] is None:
                    continue
                values = means[column] + gift + luck + rng.normal(0, 0.004, len(SEEDS))
                scores[classifier, arm, metric] = values
                key = {"classifier": classifier, "arm": arm, "metric": metric}
                rows.append({**key, **_interval(values), "values": values.tolist()})
    gains = []
    for (classifier, arm, metric), values in scores.items():
        ours = scores[classifier, "real_and_synthetic", metric]
        if arm not in ("real_and_synthetic", "synthetic_only"):
            key = {"classifier": classifier, "metric": metric, "against": arm}
            gains.append({**key, **_interval(ours - values)})
    return {
        "test_rows": 2189,
        "seeds": SEEDS,
        "rows": rows,
        "recall": _recall(rng),
        "tstr_ratio": {
            "embedding": {"accuracy": _around(0.953, 0.008), "macro_f1": _around(0.931, 0.011)},
            "tfidf": {"accuracy": _around(0.921, 0.012), "macro_f1": _around(0.904, 0.017)},
        },
        "gains": gains,
        "baseline": "class_weights",
        "over_baseline": [
            {
                "classifier": gain["classifier"],
                "metric": gain["metric"],
                "helps": gain["low"] > 0.015,
            }
            for gain in gains
            if gain["against"] == "class_weights"
        ],
        "verdicts": _verdicts(gains),
    }


def _verdicts(gains: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for gain in gains:
        if gain["against"] in ("lam_0", "label_only"):
            key = gain["classifier"], gain["metric"]
            found.setdefault(key, {})[f"over_{gain['against']}"] = gain | {"p": 0.01}
    return [
        {"classifier": classifier, "metric": metric, **over}
        | {"counts": all(interval["low"] > 0 for interval in over.values())}
        for (classifier, metric), over in found.items()
    ]


def _recall(rng: np.random.Generator) -> list[dict[str, Any]]:
    found = []
    for classifier in ("embedding", "tfidf"):
        for arm, gain in [("nothing", 0.0), ("random_oversampling", 0.2), ("shuffled", 0.21)]:
            for label, (real, _) in CLASSES.items():
                mean = float(0.97 - (0.45 - gain) / np.log10(real) ** 2 + rng.normal(0, 0.01))
                key = {"classifier": classifier, "arm": arm, "label": label}
                found.append({**key, **_around(mean, 0.02)})
        for label in CLASSES:
            mean = float(0.93 + rng.normal(0, 0.02))
            key = {"classifier": classifier, "arm": "real_and_synthetic", "label": label}
            found.append({**key, **_around(mean, 0.02)})
    return found


def _privacy() -> dict[str, Any]:
    rows = [
        ("verbatim copies", 0, "of a real text, except for case and white space"),
        ("near copies of a parent", 0.012, "80% of word 3-grams shared"),
        ("longest run shared with a parent", _spread(4.0), "words; between parents 3.2"),
        ("distance to the closest record", 0.412, "cosine; to the hold-out 0.437"),
        ("nearest-neighbor ratio", 0.83, "hold-out 0.85"),
        ("membership inference, AUC", _around(0.58, 0.03), "0.5 is guessing"),
        ("membership inference, TPR at 1% FPR", 0.021, "0.01 is guessing"),
        ("leaked canaries", "0 of 20", "planted lines of random digits"),
    ]
    checks = [{"name": name, "value": value, "note": note} for name, value, note in rows]
    return {"epsilon": None, "delta": None, "sensitivity": None, "labels": None, "rows": checks}


def _samples(rng: np.random.Generator, number: int) -> list[dict[str, Any]]:
    labels, reasons = list(CLASSES)[-2:], list(REASONS)
    found = []
    for i in range(number):
        status = STATUSES[i % len(STATUSES)]
        label = labels[i % len(labels)]
        texts = [_text(rng, label, int(rng.integers(12, 40))) for _ in range(3)]
        found.append(
            {
                "sample_id": i,
                "label": label,
                "status": status,
                "reason": reasons[int(rng.integers(4))] if status == "rejected" else None,
                "text": texts[0],
                "source_text": texts[1],
                "neighbor_text": texts[2],
                "lam": float(rng.random()),
                "cosine": float(np.clip(rng.normal(0.8, 0.07), 0, 1)),
                "round": 1 + i * 2 // number,
            }
        )
    return found


def _text(rng: np.random.Generator, label: str, length: int) -> str:
    pools = [JOINTS, CLASSES[label][1].split()]
    said = [pools[i % 2][n % len(pools[i % 2])] for i, n in enumerate(rng.integers(0, 999, length))]
    return " ".join(said).capitalize() + "."


def _map(rng: np.random.Generator, samples: list[dict[str, Any]]) -> dict[str, Any]:
    centres = {label: rng.normal(0, 3.2, 2) for label in CLASSES}
    points = []
    for label, (real, _) in CLASSES.items():
        for i in range(real // 8 + 12):
            x, y = centres[label] + rng.normal(0, 0.9, 2)
            text = _text(rng, label, 12)
            points.append({"x": x, "y": y, "label": label, "kind": "real", "id": i, "text": text})
    for sample in samples:
        x, y = centres[sample["label"]] + rng.normal(0, 0.7, 2)
        point = {"x": x, "y": y, "label": sample["label"], "kind": "synthetic"}
        points.append({**point, "id": sample["sample_id"]})
    return {"method": "PCA", "explained": [0.113, 0.067], "points": points}


def _histograms(rng: np.random.Generator) -> list[dict[str, Any]]:
    cosine = {
        "accepted": np.clip(rng.normal(0.8, 0.06, 400), 0, 1),
        "rejected": np.clip(rng.normal(0.62, 0.13, 120), 0, 1),
    }
    length = {"real": rng.gamma(4, 26, 1500), "synthetic": rng.gamma(6, 14, 400)}
    made = []
    for name, unit, groups, edges in [
        ("cosine to the target point", "", cosine, np.linspace(0, 1, 41)),
        ("length", "words", length, np.geomspace(3, 600, 31)),
    ]:
        series = [
            {"name": group, "edges": edges.tolist(), "counts": np.histogram(v, edges)[0].tolist()}
            for group, v in groups.items()
        ]
        scale = "log" if unit else "linear"
        made.append({"name": name, "unit": unit, "scale": scale, "series": series})
    return made
