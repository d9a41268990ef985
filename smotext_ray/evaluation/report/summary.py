"""The head of a report: the verdict, what weakens it, and what was not measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smotext_ray.evaluation.report.unmeasured import unmeasured
from smotext_ray.evaluation.report.verdict import sentence, verdicts
from smotext_ray.evaluation.report.warnings import warnings


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """A `report.schema.Summary` of a report's other sections."""
    grown = [row["label"] for row in report["classes"] if row["accepted"]]
    return {
        "verdicts": verdicts(report["utility"], grown),
        "warnings": warnings(report),
        "unmeasured": unmeasured(report),
    }


def summary_lines(found: Mapping[str, Any]) -> list[str]:
    """A `report.schema.Summary` as lines for a terminal, without what was not measured."""
    lines = []
    for outcome in found["verdicts"]:
        lines += [f"{outcome['words']}.", f"  {sentence(outcome)}"]
    return lines + [f"Warning: {warning}" for warning in found["warnings"]]
