"""report.html of a run whose rows have several labels: tables, without scripts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smotext_ray.evaluation.report.page import source_hash
from smotext_ray.evaluation.report.words import CLASSIFIERS
from smotext_ray.gate.reasons import rejected_in_words

MOST_SAMPLES = 200
STYLE = (
    "body{font:16px/1.5 sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "td,th{border-bottom:1px solid #ccc;padding:.25rem .75rem;text-align:left;vertical-align:top}"
)
ARMS = {
    "nothing": "no balancing",
    "label_weights": "balanced weights of each label",
    "random_oversampling": "random oversampling by label",
    "smotext": "SMOTExT",
    "label_only": "the LLM, told the labels only",
}
METRICS = {
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "ranking_precision": "label ranking average precision",
    "recall_of_raised": "mean recall of the raised labels",
}


def page(report: Mapping[str, Any]) -> str:
    """The report as one page, on which texts are never interpreted as markup."""
    run, imbalance = report["run"], report["imbalance"]
    policy = f"default-src 'none'; style-src {source_hash(STYLE)}; base-uri 'none'"
    parts = [
        f"<h1>SMOTExT report</h1><p>{run['real_rows']} real and {run['synthetic_rows']} synthetic "
        f"texts with several labels each; {run['test_rows']} test texts from "
        f"{html.escape(str(run['test']))}.</p>",
        f"<h2>Labels</h2><p>MeanIR {imbalance['before']:.2f} before, {imbalance['after']:.2f} "
        "after.</p>",
        _table(
            ("label", "rows before", "requested", "accepted", "rows after", "IRLbl", "after"),
            (
                (
                    *(row[name] for name in ("label", "before", "asked", "accepted", "after")),
                    f"{row['ratio_before']:.1f}",
                    f"{row['ratio_after']:.1f}",
                )
                for row in report["labels"]
            ),
        ),
        "<h2>Utility</h2><p>A classifier per label on held-out texts: means and 95% intervals of "
        f"{len(report['seeds'])} draws.</p>",
        _table(
            ("classifier", "training set", "metric", "mean", "interval"),
            (
                (*_which(row, "arm"), f"{row['mean']:.3f}", _interval(row))
                for row in report["utility"]
            ),
        ),
        "<h2>What SMOTExT gains</h2>",
        _table(
            ("classifier", "over", "metric", "difference", "interval"),
            (
                (*_which(row, "over"), f"{row['mean']:+.3f}", _interval(row))
                for row in report["gains"]
            ),
        ),
        "<h2>Recall of each label</h2>",
        _table(
            ("classifier", "label", "training set", "recall"),
            (
                (CLASSIFIERS[r["classifier"]], r["label"], _arm(r["arm"]), f"{r['mean']:.3f}")
                for r in sorted(report["recall"], key=lambda r: (r["classifier"], r["label"]))
            ),
        ),
        "<h2>Rejected texts</h2>",
        _table(
            ("reason", "meaning", "texts"),
            (
                (reason, rejected_in_words(True).get(reason, ""), number)
                for reason, number in report["rejections"].items()
            ),
        ),
        f"<h2>Texts</h2><p>The first {MOST_SAMPLES}; all are in report.json.</p>",
        _table(
            ("made for", "labels", "status", "text"),
            (
                (
                    row["made_for"],
                    ", ".join(row["labels"]),
                    row["reason"] or row["status"],
                    row["text"] or "",
                )
                for row in report["samples"][:MOST_SAMPLES]
            ),
        ),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>SMOTExT report</title><style>{STYLE}</style></head><body>"
        + "\n".join(parts)
        + "</body></html>\n"
    )


def summary_lines(report: Mapping[str, Any]) -> list[str]:
    """The lines printed of a report: imbalance, gains over nothing and over random oversampling."""
    imbalance = report["imbalance"]
    lines = [f"MeanIR {imbalance['before']:.2f} before, {imbalance['after']:.2f} after."]
    for row in report["gains"]:
        if row["over"] in ("nothing", "random_oversampling"):
            lines.append(
                f"{CLASSIFIERS[row['classifier']]}, {METRICS[row['metric']]}: {row['mean']:+.3f} "
                f"over {_arm(row['over'])} ({_interval(row) or 'one draw'})"
            )
    return lines


def _which(row: Mapping[str, Any], arm: str) -> tuple[str, str, str]:
    return CLASSIFIERS[row["classifier"]], _arm(row[arm]), METRICS[row["metric"]]


def _arm(name: str) -> str:
    return ARMS.get(name, name)


def _interval(row: Mapping[str, Any]) -> str:
    return "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
