"""The ``privacy`` section of a report: copies, attacks, and canaries if any were planted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from smotext_ray.evaluation.inputs import EvaluationData
from smotext_ray.evaluation.leakage.canaries import exposure, extracted
from smotext_ray.evaluation.leakage.copies import copies, distances
from smotext_ray.evaluation.leakage.membership import Attack, membership_inference
from smotext_ray.evaluation.leakage.parents import attack_parents, matched_parents
from smotext_ray.evaluation.leakage.planting import Canaries
from smotext_ray.evaluation.leakage.similarity import Records, membership_scores


def copy_check(
    material: EvaluationData, encode: Callable[[list[str]], np.ndarray], canaries: Canaries | None
) -> list[dict[str, Any]]:
    """Count copies and run the attacks.

    Parameters
    ----------
    material : EvaluationData
    encode : callable
        Encodes the canaries, not all of which are in the corpus.
    canaries : Canaries, optional
        Canaries planted in the corpus.

    Returns
    -------
    list of dict
        Rows of the report's ``privacy`` section.
    """
    rows = _copies(material)
    members, others = _members_and_others(material)
    if len(members) > 1:
        rows += _attacks(material, members, others)
    rows += _on_parents(material)
    if canaries is not None:
        rows += _traces(material, encode, canaries)
    return rows


def _copies(material: EvaluationData) -> list[dict[str, Any]]:
    real, new = material.real, material.synthetic
    rows_of, whose = material.parents, "a parent"
    if not rows_of.shape[1]:  # with epsilon, texts have no parents
        rows_of, whose = _nearest(new.embeddings, real.embeddings), "the nearest real text"
    parents = [[real.texts[row] for row in rows] for rows in rows_of]
    found = copies(new.texts, parents, real.texts)
    return [
        _line("verbatim copies", found.verbatim_share, "share equal to a real text"),
        _line("near copies", found.near_any_share, "share with 80% of word 3-grams of a real text"),
        _line("longest shared run, mean", found.longest_run.mean, f"words in a row of {whose}"),
        _line("longest shared run, maximum", found.longest_run.max, f"words in a row of {whose}"),
    ]


def _nearest(new: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The row of the nearest real text for each synthetic one, of shape (n, 1)."""
    blocks = [(block @ real.T).argmax(1) for block in np.array_split(new, len(new) // 1000 + 1)]
    return np.concatenate(blocks)[:, None]


def _members_and_others(material: EvaluationData) -> tuple[np.ndarray, np.ndarray]:
    """Random corpus texts and equally many test texts, per class with synthetic texts."""
    rng = np.random.default_rng(0)
    real, test = np.asarray(material.real.labels), np.asarray(material.test.labels)
    members, others = [], []
    for label in sorted(set(material.synthetic.labels)):
        inside, outside = np.flatnonzero(real == label), np.flatnonzero(test == label)
        size = min(len(inside), len(outside))
        members.append(rng.permutation(inside)[:size])
        others.append(rng.permutation(outside)[:size])
    return np.concatenate(members), np.concatenate(others)


def _attacks(
    material: EvaluationData, members: np.ndarray, others: np.ndarray
) -> list[dict[str, Any]]:
    real, new, test = material.real, material.synthetic, material.test
    near = distances(real.embeddings[members], test.embeddings[others], new.embeddings)
    found = membership_inference(
        Records([real.texts[i] for i in members], real.embeddings[members]),
        Records([test.texts[i] for i in others], test.embeddings[others]),
        Records(new.texts, new.embeddings),
    )
    return [
        _line(
            "nearer to the corpus than to the test texts",
            near.nearer_to_training,
            "share of the synthetic texts; 0.5 is chance",
        ),
        *(
            _line(
                f"membership attack by {name}, AUC",
                _interval(attack),
                "0.5 is guessing",
            )
            for name, attack in found.attacks.items()
        ),
        *(
            _line(
                f"membership attack by {name}, members found",
                {"mean": attack.tpr_at_1_fpr, "low": attack.tpr_low, "high": attack.tpr_high},
                "share, at a false positive rate of 1%; 0.01 is guessing",
            )
            for name, attack in found.attacks.items()
            if attack.tpr_at_1_fpr is not None
        ),
    ]


def _on_parents(material: EvaluationData) -> list[dict[str, Any]]:
    real, new, test = material.real, material.synthetic, material.test
    if not material.parents.shape[1]:
        return []
    members, others = matched_parents(real.labels, test.labels, material.parents)
    place = np.full(len(real), -1)
    place[members] = np.arange(len(members))
    own = place[material.parents]
    found = attack_parents(real.embeddings[members], test.embeddings[others], new.embeddings, own)
    if found is None:
        return []
    return [
        _line(
            "membership attack on parents, AUC",
            _interval(found.all_texts),
            "the corpus texts that synthetic ones were made from; 0.5 is guessing",
        ),
        _line(
            "parents without their own texts, AUC",
            _interval(found.without_own),
            "what the corpus and the test texts differ by anyway; the rest is leakage",
        ),
    ]


def _interval(found: Attack) -> dict[str, float]:
    return {"mean": found.auc, "low": found.auc_low, "high": found.auc_high}


def _traces(
    material: EvaluationData, encode: Callable[[list[str]], np.ndarray], canaries: Canaries
) -> list[dict[str, Any]]:
    """Leaked secrets and exposure of the canaries.

    A canary in a class without synthetic texts is not a parent of any and can leave no trace, so
    exposure skips it.
    """
    new = material.synthetic
    planted, wanted = canaries.planted, set(new.labels)
    back = extracted([entry.canary() for entry in planted], new.texts)
    exposed = [entry.text for entry in planted if entry.label in wanted]
    rows = [
        _line(
            "leaked canaries",
            f"{len(back.secrets)} of {len(planted)}",
            f"their secrets are in {back.texts} synthetic texts; {len(exposed)} of the "
            f"{len(planted)} are in classes with synthetic texts",
        )
    ]
    if not exposed:
        return rows
    references = [entry.text for entry in canaries.references]
    records = Records(exposed + references, encode(exposed + references))
    scores = membership_scores(records, Records(new.texts, new.embeddings))["max_cosine"]
    found = exposure(scores[: len(exposed)], scores[len(exposed) :])
    note = (
        f"bits; {found.chance:.2f} is chance, {math.log2(found.references + 1):.2f} the maximum; "
        f"{found.planted} planted in classes with synthetic texts, {found.references} never planted"
    )
    return [*rows, _line("exposure of canaries", found.exposure.as_json(), note)]


def _line(name: str, value: Any, note: str) -> dict[str, Any]:
    return {"name": name, "value": value, "note": note}
