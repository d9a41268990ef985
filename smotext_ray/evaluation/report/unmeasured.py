"""What a report lacks, and the command that measures it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def unmeasured(report: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """The measurements that were left out, each with the command for it.

    Parameters
    ----------
    report : mapping
        A `report.schema.Report` except for its summary.
    """
    run, fidelity = report.get("run") or {}, report.get("fidelity") or {}
    utility, privacy = report.get("utility") or {}, report.get("privacy") or {}
    rows = utility.get("rows", [])
    uri, test = (shlex.quote(run.get(name, name.upper())) for name in ("uri", "test"))
    evaluate = f"smotext evaluate --run {uri} --test {test} --output DIR"
    found: list[tuple[str, str | None]] = []
    if "perplexity" not in fidelity or "decoded_texts" not in fidelity:
        found.append(
            (
                "controls that the LLM decodes (shuffled vectors, lam 0, class name only), EDA and "
                "the Markov chain for classifiers that read embeddings, and perplexity",
                f"{evaluate}  # without --quick",
            )
        )
    if not any(row["classifier"] == "bert" for row in rows):
        found.append(
            ("a fine-tuned encoder", f"{evaluate} --quick --classifiers embedding tfidf bert")
        )
    if not report.get("distillation"):
        found.append(("distillation from a teacher", f"{evaluate} --quick --teacher embedding"))
    if not any(row["arm"] == "synthetic_only" for row in rows):
        found.append(
            ("training on synthetic texts only: it needs synthetic texts of every class", None)
        )
    if not any("canaries" in row["name"] for row in privacy.get("rows", [])):
        found.append(
            ("canaries planted in the corpus", "smotext canaries --input CORPUS --output FILE")
        )
    return [{"what": what, "command": command} for what, command in found]
