"""What a reader must know before reading the figures, derived from a finished report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LENGTHS_DIFFER = 2.0  # times
AGREEMENT_LOST = 0.1
FEW_TEST_ROWS = 20


def warnings(report: Mapping[str, Any]) -> list[str]:
    """Sentences on weaknesses of the report or the texts, the most serious first.

    Parameters
    ----------
    report : mapping
        A `report.schema.Report` except for its summary.
    """
    return [
        *_lengths(report),
        *_membership(report),
        *_copies(report),
        *_wrong_class(report),
        *_short_of_target(report),
        *_test_set(report),
        *_left_out(report),
    ]


def _lengths(report: Mapping[str, Any]) -> list[str]:
    sides = (report.get("fidelity") or {}).get("diversity")
    if not sides:
        return []
    real, new = (sides[side]["length"]["median"] for side in ("real", "synthetic"))
    if not real or not new or max(real / new, new / real) < LENGTHS_DIFFER:
        return []
    times, word = (real / new, "shorter") if real > new else (new / real, "longer")
    return [
        f"Synthetic texts are {times:.1f} times {word} than the real ones of their classes: "
        f"a median of {new:.0f} words, not {real:.0f}."
    ]


def _membership(report: Mapping[str, Any]) -> list[str]:
    attacks = [
        row["value"]
        for row in (report.get("privacy") or {}).get("rows", [])
        if row["name"].startswith("membership attack") and row["name"].endswith("AUC")
    ]
    found = [value for value in attacks if value["low"] > 0.5]
    if not found:
        return []
    worst = max(found, key=lambda value: value["mean"])
    return [
        "Whoever has the synthetic texts can tell corpus texts from others better than by chance: "
        f"AUC {worst['mean']:.2f} ({worst['low']:.2f} to {worst['high']:.2f}) of the strongest "
        "membership attack, where 0.5 is guessing."
    ]


def _copies(report: Mapping[str, Any]) -> list[str]:
    for row in (report.get("privacy") or {}).get("rows", []):
        if row["name"] == "verbatim copies" and row["value"]:
            return [f"{row['value']:.1%} of the synthetic texts are equal to a real text."]
    return []


def _wrong_class(report: Mapping[str, Any]) -> list[str]:
    found = []
    for row in report.get("by_class") or []:
        new, real = row["agreement"], row["accuracy"]
        if new is not None and real is not None and new < real - AGREEMENT_LOST:
            found.append(
                f"A classifier trained on other real texts takes {new:.0%} of the synthetic texts "
                f"of {row['label']} for {row['label']}, and {real:.0%} of its real ones."
            )
    return found


def _short_of_target(report: Mapping[str, Any]) -> list[str]:
    short = {
        row["label"]: row["target"] - row["real"] - row["accepted"]
        for row in report.get("classes") or []
        if row["target"] is not None and row["real"] + row["accepted"] < row["target"]
    }
    if not short:
        return []
    named = ", ".join(f"{label} {number:,}" for label, number in short.items())
    return [f"Texts short of the target: {named}."]


def _test_set(report: Mapping[str, Any]) -> list[str]:
    found = []
    run = report.get("run") or {}
    if run.get("test_texts_in_corpus"):
        found.append(
            f"{run['test_texts_in_corpus']:,} of the {run['test_rows']:,} test texts are in the "
            "corpus too, which makes scores too high."
        )
    few = [
        f"{row['label']} {row['test']}"
        for row in report.get("by_class") or []
        if row["test"] < FEW_TEST_ROWS
    ]
    if few:
        found.append(f"Few test texts, so the recall is uncertain: {', '.join(few)}.")
    return found


def _left_out(report: Mapping[str, Any]) -> list[str]:
    found = []
    if (report.get("run") or {}).get("quick"):
        found.append("Made with --quick: whether a gain comes from interpolation was not measured.")
    seeds = (report.get("utility") or {}).get("seeds") or []
    if len(seeds) == 1:
        found.append("Made with one seed: no score has an interval.")
    return found
